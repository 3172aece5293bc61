using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// An inverse's inner product taken apart by attention heads: rows of the query, key and value projections, columns of the
/// output projection. The output projection's bias belongs to no head and comes last. Of a weight that has its inputs in rows these are
/// columns and rows, and the bias is a block of its own; projections packed into one weight are its thirds, named weight[q], weight[k] and
/// weight[v].
/// </summary>
internal sealed class HeadMetric : GradientMetric
{
    private readonly Inverse _inner;
    private readonly InfluenceFunction.Projections _heads;
    private readonly string[] _names;
    private readonly int[] _blocks;

    // Which third of a weight a projection is; -1 for the whole of it.
    private readonly int[] _thirds = [-1, -1, -1, -1];

    // Blocks of biases that do not stand with their weights; -1 where there are none.
    private readonly int[] _biases;

    public HeadMetric(Inverse inner, InfluenceFunction.Projections heads, GradientSession session)
    {
        (_inner, _heads) = (inner, heads);
        _names = [heads.Query, heads.Key, heads.Value, heads.Output];
        var names = session.BlockNames.Select(name => name.Split(", ")).ToList();
        var parts = session.Parts;
        _blocks = [.. Enumerable.Range(0, 4).Select(Find)];
        _biases =
        [
            .. _blocks.Select(block =>
                Enumerable
                    .Range(0, parts.Count)
                    .Where(k =>
                        k != block
                        && parts[k].Count == 1
                        && parts[block].Count == 1
                        && parts[k][0] is { Parameter.LocalName: "bias", Rows: null } bias
                        && ReferenceEquals(bias.Parameter.Owner, parts[block][0].Parameter.Owner)
                    )
                    .DefaultIfEmpty(-1)
                    .First()
            ),
        ];

        int Find(int projection)
        {
            var weight = _names[projection];
            var found = names.FindIndex(own => own[0] == weight);
            if (found < 0 && projection < 3 && weight.Length > 3 && weight[^3..] is "[q]" or "[k]" or "[v]")
            {
                _thirds[projection] = "qkv".IndexOf(weight[^2]);
                found = names.FindIndex(own => own[0] == weight[..^3]);
            }

            return found >= 0
                ? found
                : throw new InfluenceException(
                    $"{weight} is no weight that takes part; their names: "
                        + $"{InfluenceException.List([.. names.Select(own => own[0])])}."
                );
        }
    }

    /// <summary>The head of each block of the results (weights of four projections, then biases of three); the number of heads for what
    /// belongs to none.</summary>
    public int HeadOf(int block) => block < 7 * _heads.Heads ? block % _heads.Heads : _heads.Heads;

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

            AddBiases(blocks, written, gradients, scope);
            blocks.Add(
                Source(gradients, 3) is { Bias: true } && written.Blocks[_blocks[3]] is { } output ? Dense([Kept(output.Dense()[1], scope)])
                : OwnBias(3, written, gradients) is { } bias ? Dense([Kept(bias, scope)])
                : null
            );
            ReleaseBiases(gradients);
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
            var activation = source is null ? null : Activation(source);
            for (var head = 0; head < _heads.Heads; head++)
            {
                blocks.Add(source is null ? null : Sliced(source, activation!, projection, head));
            }
        }

        AddBiases(blocks, gradients, gradients, scope);
        var output = Source(gradients, 3);
        blocks.Add(
            output is { Bias: true }
                ? new FactoredGradients(Activation(output).alias, output.OutputGradient, output.Inputs, weight: false, bias: true)
            : OwnBias(3, gradients, gradients) is { } bias ? Dense([Kept(bias, scope)])
            : null
        );
        ReleaseBiases(gradients);
        return new BatchGradients(scope, gradients.Ids, gradients.Dtype, gradients.Device) { Blocks = blocks };
    }

    /// <summary>The heads' parts of the biases of queries, keys and values, where these are blocks of their own.</summary>
    private void AddBiases(List<BlockGradients?> blocks, BatchGradients written, BatchGradients gradients, DisposeScope scope)
    {
        for (var projection = 0; projection < 3; projection++)
        {
            var bias = OwnBias(projection, written, gradients); // [B, O]
            for (var head = 0; head < _heads.Heads; head++)
            {
                var (first, rows) = bias is null ? (0, 0) : Rows(bias.shape[1], projection, head);
                blocks.Add(bias is null ? null : Dense([Kept(bias.narrow(1, first, rows), scope)]));
            }
        }
    }

    private Tensor? OwnBias(int projection, BatchGradients written, BatchGradients gradients) =>
        _biases[projection] >= 0 && gradients.Blocks[_biases[projection]] is not null
            ? written.Blocks[_biases[projection]]?.Dense()[0]
            : null;

    /// <summary>What was written out here ends with the scope of the result, and is made anew when it is asked for again.</summary>
    private void ReleaseBiases(BatchGradients gradients)
    {
        foreach (var bias in _biases.Where(bias => bias >= 0).Distinct())
        {
            gradients.Blocks[bias]?.Release();
        }
    }

    /// <summary>Where a head's rows lie among a projection's outputs.</summary>
    private (long First, long Count) Rows(long outputs, int projection, int head)
    {
        var own = _thirds[projection] >= 0 ? outputs / 3 : outputs;
        var rows = own / _heads.Heads;
        return ((Math.Max(0, _thirds[projection]) * own) + (head * rows), rows);
    }

    /// <summary>Null where the loss of this batch does not depend on the projection.</summary>
    private FactoredGradients? Source(BatchGradients gradients, int projection)
    {
        if (gradients.Blocks[_blocks[projection]] is null)
        {
            return null;
        }

        var source = gradients.Blocks[_blocks[projection]] as FactoredGradients;
        var size = source is null ? null : (long?)OfHeads(source, projection);
        var isThird = _thirds[projection] >= 0;
        var parts = isThird ? 3 * _heads.Heads : _heads.Heads;
        return source is { Weight: true } && size % parts == 0
            ? source
            : throw new InfluenceException(
                $"{_names[projection]} is no linear weight whose {(projection < 3 ? "outputs" : "inputs")} "
                    + $"divide into {(isThird ? $"3 x {_heads.Heads}" : $"{_heads.Heads}")} heads ({size?.ToString() ?? "none"} found)."
            );
    }

    /// <summary>Whether the heads lie along the second side of the gradient as it is factored: inputs of an output projection, or outputs
    /// of a transposed weight.</summary>
    private static bool AreColumns(FactoredGradients source, int projection) => projection == 3 != source.IsTransposed;

    private static long OfHeads(FactoredGradients source, int projection) =>
        AreColumns(source, projection) ? source.Inputs : source.Outputs;

    /// <summary>A handle that ends with the result; what the source keeps may not end with it.</summary>
    private static Tensor Activation(FactoredGradients source)
    {
        var activation = source.Activation.alias();
        source.Release();
        return activation;
    }

    private FactoredGradients Sliced(FactoredGradients source, Tensor activation, int projection, int head)
    {
        var (first, count) = Rows(OfHeads(source, projection), projection, head);
        return AreColumns(source, projection)
            ? new FactoredGradients(() => activation.narrow(2, first, count), source.OutputGradient, count, weight: true, bias: false)
            : new FactoredGradients(
                activation.alias,
                source.OutputGradient.narrow(2, first, count),
                source.Inputs,
                weight: true,
                source.Bias && projection < 3
            );
    }

    private DenseGradients Written(Tensor[] parts, FactoredGradients source, int projection, int head, DisposeScope scope)
    {
        var weight = parts[0].reshape(-1, source.Outputs, source.Inputs); // [Q, O, I]
        var (first, count) = Rows(OfHeads(source, projection), projection, head);
        Tensor[] sliced = [Kept(weight.narrow(AreColumns(source, projection) ? 2 : 1, first, count).reshape(weight.shape[0], -1), scope)];
        return Dense(source.Bias && projection < 3 ? [.. sliced, Kept(parts[1].narrow(1, first, count), scope)] : sliced);
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
