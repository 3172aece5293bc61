using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// Per-example loss gradients in few dimensions: a sparse random projection that keeps inner products on average. Each of the P
/// parameters is added to one of k columns, drawn at random, with a random sign:
/// <code>row(z)_c = sum over parameters p with column(p) = c of sign(p) dL(z)/dp,   E[row(z) . row(z')] = grad L(z) . grad L(z')</code>
/// with variance at most (|g|^2 |g'|^2 + (g . g')^2) / k. With no more than k parameters nothing is projected, and columns are parameters.
/// </summary>
/// <remarks>
/// A parameter's column and sign follow from the seed, its name and its place alone. Cost: the gradients, written out batch by batch,
/// and one addition a parameter; memory 16 bytes a parameter beside them: choose <c>Layers</c> on large models.
/// References: Charikar, Chen, Farach-Colton, "Finding Frequent Items in Data Streams", 2002 (the projection); Park et al., "TRAK", ICML
/// 2023 (projected gradients as features).
/// </remarks>
public sealed record ProjectedGradients
{
    /// <summary>k, the number of columns.</summary>
    /// <value>512.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Dimension
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 512;

    /// <summary>Of columns and signs.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Bytes that written-out gradients may take. Cost only.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

    /// <summary>The projected gradients of the training loss.</summary>
    /// <param name="task">The model, its loss and, by <c>Layers</c>, the parameters. The model is left as it was found.</param>
    /// <param name="examples">N examples.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns><c>[N, k]</c> in the model's dtype, on the CPU; the caller's. With P parameters, at most k, <c>[N, P]</c>.</returns>
    /// <exception cref="InfluenceException">Bad input; told before the first batch where possible.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Tensor Compute(
        InfluenceTask task,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        using var scope = NewDisposeScope();
        var all = new List<Tensor>();
        Read(
            task,
            examples,
            (_, rows) =>
            {
                var kept = rows.cpu().clone();
                scope.Attach(kept);
                all.Add(kept);
            },
            progress,
            cancellationToken
        );
        return cat([.. all], 0).MoveToOuterDisposeScope(); // [N, k]
    }

    /// <summary>Batch by batch: ids and rows <c>[B, k]</c>, which live until the delegate returns.</summary>
    internal void Read(
        InfluenceTask task,
        Examples examples,
        Action<IReadOnlyList<long>, Tensor> read,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token
    )
    {
        ExampleChecks.Run(task, (examples, "examples"));
        using var scope = NewDisposeScope();
        using var reporter = new ProgressReporter(progress, "projected gradients", 1, examples.Count, token);
        using var session = GradientSession.Open(task, examples, null, memory: MemoryBudget);
        using var noGrad = no_grad();
        var columns = Columns(session, out var width);
        foreach (var batch in SubBatches.Within(session, examples, LossKind.Training, blocks => ExamplesAtOnce(blocks, session)))
        {
            token.ThrowIfCancellationRequested();
            using var step = NewDisposeScope();
            using var gradients = session.Capture(batch, LossKind.Training);
            var rows = zeros([batch.Count, width], session.Dtype, session.Device); // [B, k]
            for (var block = 0; block < gradients.Blocks.Count; block++)
            {
                if (gradients.Blocks[block] is { } present)
                {
                    Add(rows, present, columns[block]);
                }
            }

            FiniteRows.Check(rows, batch.Ids, "Gradients");
            read(batch.Ids, rows);
            reporter.Add(batch.Count);
        }
    }

    /// <summary>Adds one block's gradients to the rows <c>[B, k]</c> and releases it; of an embedding's only what occurs is written
    /// out.</summary>
    internal static void Add(Tensor rows, BlockGradients block, (Tensor Column, Tensor? Sign)[] columns)
    {
        using var scope = NewDisposeScope();
        block.AddSketch(rows, columns);
        block.Release();
    }

    /// <summary>So many that what the largest block makes fits the budget.</summary>
    private int ExamplesAtOnce(IReadOnlyList<BlockGradients?> blocks, GradientSession session)
    {
        var largest = blocks
            .Zip(session.Parts, (block, parts) => block?.NumbersToSketch(parts.Sum(p => (double)p.Count)) ?? 1)
            .DefaultIfEmpty(1)
            .Max();
        return (int)Math.Clamp(MemoryBudget / (largest * session.Dtype.ElementSize()), 1, int.MaxValue / 2);
    }

    /// <summary>The column of every parameter <c>[P_p]</c> and its sign, part by part of every block.</summary>
    private List<(Tensor Column, Tensor? Sign)[]> Columns(GradientSession session, out long width)
    {
        var parameters = session.Parts.Sum(block => block.Sum(part => part.Count));
        width = Math.Min(Dimension, parameters);
        var columns = new List<(Tensor, Tensor?)[]>();
        long at = 0;
        foreach (var block in session.Parts)
        {
            var parts = new (Tensor, Tensor?)[block.Count];
            for (var p = 0; p < parts.Length; p++)
            {
                parts[p] =
                    parameters <= Dimension
                        ? (arange(Kept(at), Kept(at + block[p].Count), Kept(1), ScalarType.Int64, session.Device), null)
                        : Drawn(block[p], session);
                at += block[p].Count;
            }

            columns.Add(parts);
        }

        return columns;
    }

    private (Tensor Column, Tensor? Sign) Drawn(ParameterPart part, GradientSession session)
    {
        var random = new KeyedRandom(Seed, $"projection of {part.Parameter.Name}");
        var (columns, signs) = (new long[part.Count], new float[part.Count]);
        for (long i = 0; i < part.Count; i++)
        {
            var number = random.Of(part.Start + i);
            signs[i] = (number & 1) == 0 ? 1 : -1;
            columns[i] = (long)Math.BigMul(number, (ulong)Dimension, out _);
        }

        return (tensor(columns, device: session.Device), tensor(signs, dtype: session.Dtype, device: session.Device));
    }
}
