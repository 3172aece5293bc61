using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace SelectBestTenth;

/// <summary>Stochastic gradient descent for a number of steps, whatever the number of images: every pick gets the same work.</summary>
internal sealed record ClassifierTrainer
{
    /// <summary>Half of the channels of the network that finds mislabelled images: many models are trained here.</summary>
    public const int Channels = 8;

    private const int BatchSize = 50;
    private const double PeakRate = 0.1;

    public required int Steps { get; init; }

    public required int Seed { get; init; }

    /// <summary>Trains on some rows.</summary>
    /// <param name="images"><c>[N, 1, 28, 28]</c>.</param>
    /// <param name="labels"><c>[N]</c>.</param>
    /// <param name="rows">The rows to train on.</param>
    /// <param name="weights">How much each counts; their mean is made 1.</param>
    /// <param name="cancellationToken">Checked at each step.</param>
    public nn.Module<Tensor, Tensor> Train(
        Tensor images,
        Tensor labels,
        IReadOnlyList<long> rows,
        IReadOnlyList<double> weights,
        CancellationToken cancellationToken
    )
    {
        var model = SmallCnn.Create(Seed, Channels);
        using var optimizer = optim.SGD(model.parameters(), PeakRate);
        var random = Randomness.For(Seed, "order of the batches");
        var mean = weights.Average();
        var order = Enumerable.Range(0, rows.Count).ToArray();
        for (var (step, next) = (0, order.Length); step < Steps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (next >= order.Length)
            {
                random.Shuffle(order);
                next = 0;
            }

            using var scope = NewDisposeScope();
            optimizer.ParamGroups.First().LearningRate = PeakRate * 0.5 * (1 + Math.Cos(Math.PI * step / Steps));
            var drawn = order[next..Math.Min(next + BatchSize, order.Length)];
            next += BatchSize;
            var batch = tensor(drawn.Select(i => rows[i]).ToArray()); // [B]
            var weight = tensor(drawn.Select(i => (float)(weights[i] / mean)).ToArray()); // [B]
            var losses = F.cross_entropy(
                model.call(images.index_select(0, batch)),
                labels.index_select(0, batch),
                reduction: nn.Reduction.None
            );
            optimizer.zero_grad();
            (losses * weight).mean().backward();
            optimizer.step();
        }

        model.eval();
        return model;
    }

    /// <summary>The share of images whose class is found.</summary>
    public static double Accuracy(nn.Module<Tensor, Tensor> model, Tensor images, Tensor labels, CancellationToken cancellationToken)
    {
        var right = labels.data<long>().ToArray();
        return Evaluation.Predictions(model, images, cancellationToken).Index().Average(p => p.Item == right[p.Index] ? 1.0 : 0.0);
    }
}
