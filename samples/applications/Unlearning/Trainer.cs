using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace UnlearningSample;

/// <summary>Stochastic gradient descent in batches drawn anew each epoch; the learning rate falls along half a cosine. Epochs are fixed,
/// whatever the number of images.</summary>
internal sealed record Trainer
{
    public required int Epochs { get; init; }

    public int BatchSize { get; init; } = 50;

    public double LearningRate { get; init; } = 0.1;

    public nn.Module<Tensor, Tensor> Train(Tensor images, Tensor labels, int seed, CancellationToken cancellationToken)
    {
        var model = SmallCnn.Create(seed);
        model.train();
        using var optimizer = optim.SGD(model.parameters(), LearningRate);
        var schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, Epochs);
        var random = Randomness.For(seed, "order of the batches");
        var order = Enumerable.Range(0, (int)images.shape[0]).Select(i => (long)i).ToArray();
        for (var epoch = 0; epoch < Epochs; epoch++)
        {
            random.Shuffle(order);
            for (var start = 0; start < order.Length; start += BatchSize)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                var batch = tensor(order[start..Math.Min(start + BatchSize, order.Length)]);
                var loss = F.cross_entropy(model.call(images.index_select(0, batch)), labels.index_select(0, batch));
                optimizer.zero_grad();
                loss.backward();
                optimizer.step();
            }

            schedule.step();
        }

        model.eval();
        return model;
    }
}
