using Influence;
using static TorchSharp.torch;

namespace SelectBestTenth;

/// <summary>AdamW for a number of steps, whatever the number of passages: every pick gets the same work.</summary>
internal sealed record DecoderTrainer
{
    private const int BatchSize = 8;
    private const double PeakRate = 2e-3;
    private const double WarmUpShare = 0.05;

    public required int Steps { get; init; }

    public required int Seed { get; init; }

    public ByteDecoder Train(PassageTensors passages, IReadOnlyList<long> rows, CancellationToken cancellationToken)
    {
        var model = ByteDecoder.Create(Seed, layers: 2, width: 64);
        using var optimizer = optim.AdamW(model.parameters(), PeakRate);
        var random = Randomness.For(Seed, "order of the batches");
        long[] order = [.. rows];
        for (var (step, next) = (0, order.Length); step < Steps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (next >= order.Length)
            {
                random.Shuffle(order);
                next = 0;
            }

            using var scope = NewDisposeScope();
            optimizer.ParamGroups.First().LearningRate = PeakRate * RateAt((double)step / Steps);
            var batch = tensor(order[next..Math.Min(next + BatchSize, order.Length)]); // [B]
            next += BatchSize;
            var predicted = passages.Predicted.index_select(0, batch); // [B, T]
            var loss = Losses
                .CrossEntropy(model.call(passages.Input.index_select(0, batch)), passages.Target.index_select(0, batch), predicted)
                .sum();
            optimizer.zero_grad();
            (loss / predicted.sum()).backward();
            optimizer.step();
        }

        model.eval();
        return model;
    }

    /// <summary>Bits that a byte costs.</summary>
    public static double BitsPerByte(ByteDecoder model, PassageTensors passages)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var loss = Losses.CrossEntropy(model.call(passages.Input), passages.Target, passages.Predicted).sum();
        return (loss / passages.Predicted.sum()).to_type(ScalarType.Float64).item<double>() / Math.Log(2);
    }

    private static double RateAt(double done) =>
        done < WarmUpShare ? done / WarmUpShare : 0.5 * (1 + Math.Cos(Math.PI * (done - WarmUpShare) / (1 - WarmUpShare)));
}
