using System.Diagnostics;
using Influence;
using TorchSharp;
using static TorchSharp.torch;

namespace DataMixture;

/// <summary>
/// AdamW on batches of windows. The learning rate rises over the first steps and falls along half a cosine to a tenth. Every
/// run reads the same number of tokens, whichever windows they are.
/// </summary>
internal sealed record Trainer
{
    private const double PeakRate = 1e-2;
    private const double LastShare = 0.1;
    private const double WarmUpShare = 0.05;
    private const int BatchSize = 8;

    public required int Steps { get; init; }

    public long Tokens => (long)Steps * BatchSize * PassageTensors.Positions;

    /// <param name="model">The model.</param>
    /// <param name="windows">All training windows.</param>
    /// <param name="drawn">Positions among them, without end.</param>
    /// <param name="afterStep">Told the number of steps so far.</param>
    /// <param name="progress">Told after each step.</param>
    /// <param name="cancellationToken">Checked before each step.</param>
    public void Train(
        ByteDecoder model,
        IReadOnlyList<Passage> windows,
        IEnumerable<long> drawn,
        Action<int> afterStep,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        model.train();
        using var optimizer = optim.AdamW(model.parameters(), PeakRate);
        using var next = drawn.GetEnumerator();
        var watch = Stopwatch.StartNew();
        for (var step = 0; step < Steps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Step(
                model,
                optimizer,
                PeakRate * RateAt((double)step / Steps),
                [.. Enumerable.Range(0, BatchSize).Select(_ => windows[Next()])]
            );
            afterStep(step + 1);
            progress?.Report(new InfluenceProgress("training", step + 1, Steps, watch.Elapsed));
        }

        model.eval();

        int Next() => next.MoveNext() ? (int)next.Current : throw new InvalidOperationException("The sampler came to an end.");
    }

    private static void Step(ByteDecoder model, optim.Optimizer optimizer, double rate, IReadOnlyList<Passage> windows)
    {
        using var scope = NewDisposeScope();
        using var batch = new PassageTensors(windows);
        optimizer.ParamGroups.First().LearningRate = rate;
        var loss = Losses.CrossEntropy(model.call(batch.Input), batch.Target, batch.Predicted).sum();
        optimizer.zero_grad();
        (loss / ((double)BatchSize * PassageTensors.Positions)).backward();
        optimizer.step();
    }

    private static double RateAt(double done) =>
        done < WarmUpShare
            ? done / WarmUpShare
            : LastShare + ((1 - LastShare) * 0.5 * (1 + Math.Cos(Math.PI * (done - WarmUpShare) / (1 - WarmUpShare))));
}
