using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// An inverse's inner product taken apart by attention heads: rows of the query, key and value projections, columns of the
/// output projection. The output projection's bias belongs to no head and comes last.
/// </summary>
internal sealed class HeadMetric : GradientMetric
{
    private readonly Inverse _inner;
    private readonly InfluenceFunction.AttentionHeads _heads;
    private readonly int[] _blocks;

    public HeadMetric(Inverse inner, InfluenceFunction.AttentionHeads heads, GradientSession session)
    {
        (_inner, _heads) = (inner, heads);
        var names = session.BlockNames.Select(name => name.Split(", ")).ToList();
        _blocks = [.. new[] { heads.Query, heads.Key, heads.Value, heads.Output }.Select(Find)];

        int Find(string weight)
        {
            var found = names.FindIndex(parts => parts[0] == weight);
            return found >= 0
                ? found
                : throw new InfluenceException($"{weight} is no weight that takes part; their names: {InfluenceException.List([.. names.Select(parts => parts[0])])}.");
        }
    }

    /// <summary>The head of each block of the results; the number of heads for what belongs to none.</summary>
    public int HeadOf(int block) => block < 4 * _heads.Heads ? block % _heads.Heads : _heads.Heads;

    public override BatchGradients Apply(BatchGradients gradients)
    {
        var scope = NewDisposeScope();
        try
        {
            using var written = _inner.Written(gradients);
            var blocks = new List<BlockGradients?>();
            for (var projection = 0; projection < 4; projection++)
            {
                var source = Source(gradients, projection);
                var parts = written.Blocks[_blocks[projection]]?.Dense();
                for (var head = 0; head < _heads.Heads; head++)
                {
                    blocks.Add(source is null || parts is null ? null : Written(parts, source, projection, head, scope));
                }
            }

            blocks.Add(Source(gradients, 3) is { Bias: true } && written.Blocks[_blocks[3]] is { } output ? Dense([Kept(output.Dense()[1], scope)]) : null);
            return new BatchGradients(scope, gradients.Ids, gradients.Dtype, gradients.Device) { Blocks = blocks };
        }
        catch
        {
            scope.Dispose();
            throw;
        }
    }

    public override BatchGradients Meet(BatchGradients gradients)
    {
        var scope = NewDisposeScope();
        var blocks = new List<BlockGradients?>();
        for (var projection = 0; projection < 4; projection++)
        {
            var source = Source(gradients, projection);
            for (var head = 0; head < _heads.Heads; head++)
            {
                blocks.Add(source is null ? null : Sliced(source, projection, head));
            }
        }

        var output = Source(gradients, 3);
        blocks.Add(output is { Bias: true } ? new FactoredGradients(output.Activation.alias, output.OutputGradient, output.Inputs, weight: false, bias: true) : null);
        return new BatchGradients(scope, gradients.Ids, gradients.Dtype, gradients.Device) { Blocks = blocks };
    }

    /// <summary>Null where the loss of this batch does not depend on the projection.</summary>
    private FactoredGradients? Source(BatchGradients gradients, int projection)
    {
        if (gradients.Blocks[_blocks[projection]] is null)
        {
            return null;
        }

        var source = gradients.Blocks[_blocks[projection]] as FactoredGradients;
        var size = projection < 3 ? source?.Outputs : source?.Inputs;
        return source is { Weight: true } && size % _heads.Heads == 0
            ? source
            : throw new InfluenceException(
                $"{new[] { _heads.Query, _heads.Key, _heads.Value, _heads.Output }[projection]} is no linear weight whose {(projection < 3 ? "rows" : "columns")} " +
                $"divide into {_heads.Heads} heads ({size?.ToString() ?? "none"} found).");
    }

    private FactoredGradients Sliced(FactoredGradients source, int projection, int head)
    {
        if (projection < 3)
        {
            var rows = source.Outputs / _heads.Heads;
            return new FactoredGradients(source.Activation.alias, source.OutputGradient.narrow(2, head * rows, rows), source.Inputs, weight: true, source.Bias);
        }

        var columns = source.Inputs / _heads.Heads;
        return new FactoredGradients(() => source.Activation.narrow(2, head * columns, columns), source.OutputGradient, columns, weight: true, bias: false);
    }

    private DenseGradients Written(Tensor[] parts, FactoredGradients source, int projection, int head, DisposeScope scope)
    {
        var weight = parts[0].reshape(-1, source.Outputs, source.Inputs);               // [Q, O, I]
        if (projection == 3)
        {
            var columns = source.Inputs / _heads.Heads;
            return Dense([Kept(weight.narrow(2, head * columns, columns).reshape(weight.shape[0], -1), scope)]);
        }

        var rows = source.Outputs / _heads.Heads;
        Tensor[] sliced = [Kept(weight.narrow(1, head * rows, rows).reshape(weight.shape[0], -1), scope)];
        return Dense(source.Bias ? [.. sliced, Kept(parts[1].narrow(1, head * rows, rows).clone(), scope)] : sliced);
    }

    /// <summary>Out of the inner inverse's scope, which ends first.</summary>
    private static Tensor Kept(Tensor tensor, DisposeScope scope)
    {
        var kept = tensor.clone().DetachFromDisposeScope();
        scope.Attach(kept);
        return kept;
    }

    private static DenseGradients Dense(Tensor[] parts) => new(parts[0].shape[0], () => [.. parts.Select(p => p.alias())]);
}
