using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// Queries' gradients from the end of training, pushed back through it: written out, <c>[Q, P_k]</c> a part of a block. As a
/// metric it puts them in the place of the gradients that the queries would have at the checkpoint at hand. Owns its tensors.
/// </summary>
internal sealed class PushedQueries : GradientMetric
{
    private readonly Tensor[][] _parts;
    private readonly Dictionary<long, int> _rows;

    private PushedQueries(Tensor[][] parts, Dictionary<long, int> rows) => (_parts, _rows) = (parts, rows);

    public ScalarType Dtype => _parts[0][0].dtype;

    /// <summary>The gradients of the queries' measurement at the session's weights.</summary>
    public static PushedQueries Capture(GradientSession session, Examples queries, CancellationToken token)
    {
        var pushed = new PushedQueries(
            [
                .. session.Parts.Select(block =>
                    block.Select(p => zeros([queries.Count, p.Count], session.Dtype, session.Device).DetachFromDisposeScope()).ToArray()
                ),
            ],
            queries.Ids.Select((id, row) => (id, row)).ToDictionary(p => p.id, p => p.row)
        );
        try
        {
            long start = 0;
            foreach (var examples in session.Batches(queries, LossKind.Measurement))
            {
                token.ThrowIfCancellationRequested();
                using var batch = session.Capture(examples, LossKind.Measurement);
                for (var k = 0; k < pushed._parts.Length; k++)
                {
                    using var one = NewDisposeScope();
                    if (batch.Blocks[k] is { } block)
                    {
                        foreach (var (kept, part) in pushed._parts[k].Zip(block.Dense()))
                        {
                            kept.narrow(0, start, batch.Count).copy_(part);
                        }

                        block.Release();
                    }
                }

                start += batch.Count;
            }

            return pushed;
        }
        catch
        {
            pushed.Dispose();
            throw;
        }
    }

    /// <summary>Every gradient multiplied by a function of the curvature; a block without curvature has eigenvalues of zero.</summary>
    /// <param name="blocks">The curvature, block by block.</param>
    /// <param name="weightsOf">The function of each block's eigenvalues.</param>
    public PushedQueries Mapped(IReadOnlyList<BlockCurvature?> blocks, Func<int, Func<Tensor, Tensor>> weightsOf)
    {
        var mapped = new Tensor[_parts.Length][];
        for (var k = 0; k < _parts.Length; k++)
        {
            using var one = NewDisposeScope();
            var (own, weights) = (_parts[k], weightsOf(k));
            Tensor[] parts; // [Q, P_k] each
            if (blocks[k] is { } block)
            {
                using var function = block.Map(weights);
                parts = function.Dense(new DenseGradients(own[0].shape[0], () => [.. own.Select(p => p.alias())]));
            }
            else
            {
                var factor = weights(zeros([1], own[0].dtype, own[0].device));
                parts = [.. own.Select(p => p * factor)];
            }

            mapped[k] = [.. parts.Select(p => p.DetachFromDisposeScope())];
        }

        return new PushedQueries(mapped, _rows);
    }

    /// <summary>Two maps of every block's gradients at once; the second is null where it is not wanted.</summary>
    /// <param name="map">From a block and its parts <c>[Q, P_k]</c> to two lists of parts, in the current scope.</param>
    /// <param name="both">Whether the second is wanted.</param>
    public (PushedQueries First, PushedQueries? Second) Through(Func<int, Tensor[], (Tensor[] First, Tensor[] Second)> map, bool both)
    {
        var (first, second) = (new Tensor[_parts.Length][], new Tensor[_parts.Length][]);
        try
        {
            for (var k = 0; k < _parts.Length; k++)
            {
                using var one = NewDisposeScope();
                var (a, b) = map(k, _parts[k]);
                first[k] = [.. a.Select(p => p.DetachFromDisposeScope())];
                second[k] = both ? [.. b.Select(p => p.DetachFromDisposeScope())] : [];
            }
        }
        catch
        {
            foreach (var part in first.Concat(second).Where(parts => parts is not null).SelectMany(parts => parts))
            {
                part.Dispose();
            }

            throw;
        }

        return (new PushedQueries(first, _rows), both ? new PushedQueries(second, _rows) : null);
    }

    public override BatchGradients Apply(BatchGradients gradients)
    {
        var scope = NewDisposeScope();
        var rows = tensor(gradients.Ids.Select(id => (long)_rows[id]).ToArray(), device: gradients.Device);
        return new BatchGradients(scope, gradients.Ids, gradients.Dtype, gradients.Device)
        {
            Blocks =
            [
                .. _parts.Select(parts => new DenseGradients(gradients.Count, () => [.. parts.Select(p => p.index_select(0, rows))])),
            ],
        };
    }

    public override BatchGradients Meet(BatchGradients gradients) =>
        new(NewDisposeScope(), gradients.Ids, gradients.Dtype, gradients.Device) { Blocks = gradients.Blocks };

    public override void Dispose()
    {
        foreach (var part in _parts.SelectMany(parts => parts))
        {
            part.Dispose();
        }

        base.Dispose();
    }
}
