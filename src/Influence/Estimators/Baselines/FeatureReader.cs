using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// What baselines over features begin with: the checks, the claim on the model, no gradients, the sink begun in float64; and what their
/// delegates return, checked and on the CPU.
/// </summary>
internal sealed class FeatureReader : IDisposable
{
    private readonly ModelInUse _claim;
    private readonly IDisposable _noGrad;
    private readonly ProgressReporter _reporter;

    public FeatureReader(
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        string stage,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token
    )
    {
        ArgumentNullException.ThrowIfNull(sink);
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        _claim = ModelInUse.Claim(task.Model);
        try
        {
            // The delegates need not use the model, and it need not have parameters.
            if (ModelParameter.ForForward(task.Model) is { Count: > 0 } parameters)
            {
                ModelChecks.Run(task.Model, parameters);
            }

            token.ThrowIfCancellationRequested();
            sink.Begin(queries.Ids, train.Ids, ScalarType.Float64);
        }
        catch
        {
            _claim.Dispose();
            throw;
        }

        _noGrad = no_grad();
        _reporter = new ProgressReporter(progress, stage, 1, (long)train.Count + queries.Count, token);
    }

    /// <summary>Goes through examples batch by batch, each in a scope of its own.</summary>
    public void Read(Examples examples, Action<int, ExampleBatch> use)
    {
        var first = 0;
        foreach (var batch in examples.Batches())
        {
            using (NewDisposeScope())
            {
                use(first, batch);
            }

            first += batch.Count;
            _reporter.AddOrCancel(batch.Count);
        }
    }

    /// <summary>The rows of all examples, <c>[N, d]</c>, in the current scope.</summary>
    public Tensor All(Examples examples, Func<ExampleBatch, Tensor> read, string what)
    {
        Tensor? all = null;
        Read(
            examples,
            (first, batch) =>
            {
                var rows = Rows(read, batch, what);
                all ??= zeros([examples.Count, rows.shape[1]], ScalarType.Float64).MoveToOuterDisposeScope();
                if (rows.shape[1] != all.shape[1])
                {
                    throw new InfluenceException(
                        $"{what} are [B, {all.shape[1]}] in the first batch and [B, {rows.shape[1]}] in that of example "
                            + $"{batch.Ids[0]}; one width is expected."
                    );
                }

                all.narrow(0, first, batch.Count).copy_(rows);
            }
        );
        return all!;
    }

    /// <summary>What a delegate returns for a batch, <c>[B, d]</c> in float64 on the CPU, all finite.</summary>
    public static Tensor Rows(Func<ExampleBatch, Tensor> read, ExampleBatch batch, string what)
    {
        var rows = Call(read, batch, what);
        if (rows.dim() != 2 || rows.shape[0] != batch.Count || !rows.is_floating_point())
        {
            throw new InfluenceException(
                $"{what} are floating-point numbers [B, d], one row for each of the {batch.Count} examples of a batch; found {rows.dtype} "
                    + $"[{string.Join(", ", rows.shape)}]."
            );
        }

        var own = rows.detach().cpu().to_type(ScalarType.Float64);
        var bad = own.isfinite().all(1).logical_not();
        return bad.any().item<bool>() ? throw Named(batch, bad, $"{what} hold NaN or infinity") : own;
    }

    /// <summary>What a delegate returns for a batch, one whole number for each example.</summary>
    public static long[] Labels(Func<ExampleBatch, Tensor> read, ExampleBatch batch, string what)
    {
        var labels = Call(read, batch, what);
        return labels.dim() == 1 && labels.shape[0] == batch.Count && !labels.is_floating_point() && !labels.is_complex()
            ? labels.cpu().to_type(ScalarType.Int64).contiguous().data<long>().ToArray()
            : throw new InfluenceException(
                $"{what} are whole numbers [B], one for each of the {batch.Count} examples of a batch; found {labels.dtype} "
                    + $"[{string.Join(", ", labels.shape)}]."
            );
    }

    /// <summary>Rows of length 1; rows of zeros stay.</summary>
    public static Tensor Normalized(Tensor rows)
    {
        var largest = rows.abs().amax([1L], keepdim: true); // [B, 1]; first, so that no square overflows
        var scaled = rows / largest.masked_fill(largest.eq(Kept(0)), Kept(1));
        var length = scaled.norm(1, keepdim: true, p: 2);
        return scaled / length.masked_fill(length.eq(Kept(0)), Kept(1));
    }

    /// <summary>An error that names the examples whose flag is set.</summary>
    public static InfluenceException Named(ExampleBatch batch, Tensor flags, string problem)
    {
        var set = flags.to_type(ScalarType.Int64).data<long>().ToArray();
        long[] ids = [.. batch.Ids.Where((_, i) => set[i] != 0)];
        return new InfluenceException(
            $"{problem} for the examples with ids {InfluenceException.List(ids)}. Look at their inputs, or leave them out."
        )
        {
            ExampleIds = ids,
        };
    }

    public void Dispose()
    {
        _reporter.Dispose();
        _noGrad.Dispose();
        _claim.Dispose();
    }

    private static Tensor Call(Func<ExampleBatch, Tensor> read, ExampleBatch batch, string what)
    {
        using var callback = ModelInUse.CallingBack($"the delegate of the {what.ToLowerInvariant()}");
        return read(batch)
            ?? throw new InfluenceException(
                $"{what} are null for the batch of example {batch.Ids[0]}; a tensor with a row for each example is expected."
            );
    }
}
