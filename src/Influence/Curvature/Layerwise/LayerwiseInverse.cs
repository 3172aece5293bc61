using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>The inverses of all blocks at one damping.</summary>
internal sealed class LayerwiseInverse : Inverse
{
    private readonly BlockInverse?[] _blocks;
    private readonly List<(string Block, double Damping)> _dampings = [];
    private readonly double _tolerance;

    public LayerwiseInverse(IReadOnlyList<BlockCurvature?> blocks, Damping damping, double tolerance, GradientSession session)
    {
        var names = session.BlockNames;
        if (blocks.Count != names.Count || blocks.Where((b, k) => b is not null && b.Name != names[k]).Any())
        {
            throw new InfluenceException(
                $"The preconditioner was fitted for {InfluenceException.List([.. blocks.OfType<BlockCurvature>().Select(b => b.Name)])}; "
                    + $"the task has {InfluenceException.List(names)}."
            );
        }

        var sizes = session.Parts.Select(parts => parts.Sum(p => p.Count)).ToArray();
        var other = blocks
            .Select((b, k) => (Block: b, Size: sizes[k]))
            .Where(b => b.Block is not null && b.Block.Size != b.Size)
            .Select(b => $"{b.Block!.Name} ({b.Block.Size:N0} against {b.Size:N0})")
            .ToList();
        if (other.Count > 0)
        {
            throw new InfluenceException(
                "The preconditioner was fitted for other sizes than the task has (elements of the fit against "
                    + $"the task's): {InfluenceException.List(other)}."
            );
        }

        _tolerance = tolerance;
        _blocks = new BlockInverse?[blocks.Count];
        var least = LeastCurvature(blocks, session.Dtype);
        for (var k = 0; k < blocks.Count; k++)
        {
            // A block without curvature (a dead layer) has no scale of its own: under a relative damping it adds nothing, and the
            // fit has said so. Under an absolute one other examples may reach it, and count by the damping alone.
            if (
                blocks[k] is { } block
                && block.MeanEigenvalue is var mean
                && (mean > least || damping is { IsRelative: false, Value: > 0 } or { Decay: not null })
            )
            {
                var own = damping.For(mean, session.Parts[k]);
                _blocks[k] = block.Invert(own);
                _dampings.Add((block.Name, own));
            }
        }
    }

    /// <summary>
    /// The mean eigenvalue up to which a block's gradients are rounding, not signal: those of a key projection's bias, for
    /// instance, are zero but for it. A damping relative to such a mean would blow them up to the size of the others' scores.
    /// </summary>
    public static double LeastCurvature(IReadOnlyList<BlockCurvature?> blocks, ScalarType dtype)
    {
        var rounding = dtype == ScalarType.Float64 ? Math.Pow(2, -53) : Math.Pow(2, -24);
        return 16 * rounding * rounding * blocks.OfType<BlockCurvature>().Select(b => b.MeanEigenvalue).DefaultIfEmpty(0).Max();
    }

    public override IReadOnlyList<(string Block, double Damping)> Dampings => _dampings;

    public override void Plan(BatchGradients sample, ScorePlan plan)
    {
        for (var k = 0; k < _blocks.Length; k++)
        {
            if (_blocks[k] is { } block && sample.Blocks[k] is { } gradients)
            {
                using var scope = NewDisposeScope();
                block.Plan(gradients, plan, _tolerance);
                gradients.Release();
            }
        }
    }

    public override BatchGradients Apply(BatchGradients gradients) => Each(gradients, (block, g) => block.Apply(g));

    public override BatchGradients Meet(BatchGradients gradients) => Each(gradients, (block, g) => block.Meet(g));

    public override BatchGradients Written(BatchGradients gradients) =>
        Each(gradients, (block, g) => new DenseGradients(g.Examples, () => block.Dense(g)));

    public override Tensor SelfProducts(BatchGradients gradients) => Sum(gradients, (block, g) => block.SelfProducts(g));

    public override Tensor SquaredNorms(BatchGradients gradients) => Sum(gradients, (block, g) => block.SquaredNorms(g));

    public override void Dispose()
    {
        foreach (var block in _blocks)
        {
            block?.Dispose();
        }

        base.Dispose();
    }

    private BatchGradients Each(BatchGradients gradients, Func<BlockInverse, BlockGradients, BlockGradients> map)
    {
        var scope = NewDisposeScope();
        try
        {
            return new BatchGradients(scope, gradients.Ids, gradients.Dtype, gradients.Device)
            {
                Blocks = [.. _blocks.Select((block, k) => block is not null && gradients.Blocks[k] is { } g ? map(block, g) : null)],
            };
        }
        catch
        {
            scope.Dispose();
            throw;
        }
    }

    private Tensor Sum(BatchGradients gradients, Func<BlockInverse, BlockGradients, Tensor> term)
    {
        using var outer = NewDisposeScope();
        var total = zeros([gradients.Count], gradients.Dtype, gradients.Device);
        for (var k = 0; k < _blocks.Length; k++)
        {
            if (_blocks[k] is { } block && gradients.Blocks[k] is { } g)
            {
                using var scope = NewDisposeScope();
                total.add_(term(block, g));
                g.Release();
            }
        }

        return total.MoveToOuterDisposeScope();
    }
}
