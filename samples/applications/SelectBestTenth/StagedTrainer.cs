using Influence;
using static TorchSharp.torch;

namespace SelectBestTenth;

/// <summary>AdamW on passages in an order that may follow from the model as it stands: the order is read batch by batch.</summary>
internal sealed record StagedTrainer
{
    public const int BatchSize = 8;
    public const double PeakRate = 2e-3;

    public required int Steps { get; init; }

    public required int Seed { get; init; }

    /// <param name="passages">All passages; an id is a row.</param>
    /// <param name="order">From the model and its optimizer to ids without end, or enough for all steps.</param>
    /// <param name="afterStep">Told the number of steps so far; null: nobody.</param>
    /// <param name="cancellationToken">Checked before each step.</param>
    public ByteDecoder Train(
        PassageTensors passages,
        Func<ByteDecoder, optim.Optimizer, IEnumerable<long>> order,
        Action<ByteDecoder, optim.Optimizer, int>? afterStep,
        CancellationToken cancellationToken
    )
    {
        var model = ByteDecoder.Create(Seed, layers: 2, width: 64);
        using var optimizer = optim.AdamW(model.parameters(), PeakRate);
        using var next = order(model, optimizer).GetEnumerator();
        for (var step = 0; step < Steps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            optimizer.ParamGroups.First().LearningRate = PeakRate * RateAt((double)step / Steps);
            var ids = Enumerable.Range(0, BatchSize).Select(_ => Next()).ToArray();
            using (NewDisposeScope())
            {
                var batch = tensor(ids); // [B]
                var predicted = passages.Predicted.index_select(0, batch); // [B, T]
                var loss = Losses.CrossEntropy(
                    model.call(passages.Input.index_select(0, batch)),
                    passages.Target.index_select(0, batch),
                    predicted
                );
                optimizer.zero_grad();
                (loss.sum() / predicted.sum()).backward();
                optimizer.step();
            }

            afterStep?.Invoke(model, optimizer, step + 1);
        }

        model.eval();
        return model;

        long Next() => next.MoveNext() ? next.Current : throw new InvalidOperationException("The order came to an end.");
    }

    private static double RateAt(double done) => Math.Min(1, done / 0.05) * (0.1 + (0.9 * 0.5 * (1 + Math.Cos(Math.PI * done))));
}
