using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The order in which the parameters of a session make up one vector of length P: block by block, part by part, each part
/// in its parameter's row-major order. Solvers that treat the parameters as one work on such vectors.
/// </summary>
internal sealed class ParameterVector
{
    private readonly IReadOnlyList<IReadOnlyList<ParameterPart>> _blocks;
    private readonly IReadOnlyList<ModelParameter> _parameters;
    private readonly (int Parameter, long Start, long Count)[] _slices;

    public ParameterVector(GradientSession session)
    {
        _blocks = session.Parts;
        var parts = _blocks.SelectMany(block => block).ToList();
        _parameters = [.. parts.Select(part => part.Parameter).DistinctBy(p => p.Storage)];
        var position = _parameters.Select((p, i) => (p.Storage, i)).ToDictionary(pair => pair.Storage, pair => pair.i);
        _slices = [.. parts.Select(part => (position[part.Parameter.Storage], part.Start, part.Count))];
        (Dtype, Device) = (session.Dtype, session.Device);
        Length = _slices.Sum(slice => slice.Count);
        Parts = parts;
    }

    /// <summary>The number of elements, P.</summary>
    public long Length { get; }

    /// <summary>Refuses a fit over another number of elements.</summary>
    public void CheckLength(long found, string method)
    {
        if (found != Length)
        {
            throw new InfluenceException(
                $"The fit by {method} is over {found:N0} parameters; those of the task that take part are {Length:N0}."
            );
        }
    }

    public ScalarType Dtype { get; }

    public Device Device { get; }

    /// <summary>The runs of parameters, in order.</summary>
    public IReadOnlyList<ParameterPart> Parts { get; }

    /// <summary>What each part is, in order.</summary>
    public IReadOnlyList<string> Names => [.. Parts.Select(part => part.Name)];

    /// <summary>The parameters as they are in the model now, each once; the caller keeps them while it differentiates.</summary>
    public Parameter[] Values() => [.. _parameters.Select(p => p.Value)];

    /// <summary>The number of elements of each block, in order.</summary>
    public IReadOnlyList<(long Start, long Count)> BlockRanges
    {
        get
        {
            var ranges = new List<(long, long)>();
            long at = 0;
            foreach (var block in _blocks)
            {
                var count = block.Sum(part => part.Count);
                ranges.Add((at, count));
                at += count;
            }

            return ranges;
        }
    }

    /// <summary>The sizes of the parts in a range of elements that begins and ends with a part.</summary>
    public IReadOnlyList<long> PartSizes(long start, long count)
    {
        var (sizes, at) = (new List<long>(), 0L);
        foreach (var part in Parts)
        {
            if (at >= start && at < start + count)
            {
                sizes.Add(part.Count);
            }

            at += part.Count;
        }

        return sizes;
    }

    /// <summary>A number for each parameter at all its elements, <c>[P]</c>, in the current scope.</summary>
    public Tensor Each(Func<ModelParameter, double> value) =>
        cat([.. Parts.Select(part => full([part.Count], Kept(value(part.Parameter)), Dtype, Device))], 0);

    /// <summary>One row an example, <c>[B, P]</c>; zeros where a block was not used.</summary>
    public Tensor Flatten(BatchGradients gradients)
    {
        var rows = zeros([gradients.Count, Length], gradients.Dtype, gradients.Device); // [B, P]
        long at = 0;
        for (var k = 0; k < _blocks.Count; k++)
        {
            using var scope = NewDisposeScope();
            var dense = gradients.Blocks[k]?.Dense();
            for (var p = 0; p < _blocks[k].Count; p++)
            {
                if (dense is not null)
                {
                    rows.narrow(1, at, _blocks[k][p].Count).copy_(dense[p]);
                }

                at += _blocks[k][p].Count;
            }

            gradients.Blocks[k]?.Release();
        }

        return rows;
    }

    /// <summary>Rows <c>[B, P]</c> as written-out gradients; they read the rows' memory, which stays the caller's.</summary>
    public IReadOnlyList<BlockGradients?> Blocks(Tensor rows)
    {
        var blocks = new List<BlockGradients?>();
        long at = 0;
        foreach (var parts in _blocks)
        {
            var first = at;
            blocks.Add(new DenseGradients(rows.shape[0], () => Cut(rows, parts, first)));
            at += parts.Sum(part => part.Count);
        }

        return blocks;
    }

    /// <summary>One vector <c>[P]</c> from the gradients of <see cref="Values"/>, graph included; zeros where one is invalid or
    /// null.</summary>
    public Tensor Gather(IEnumerable<Tensor?> gradients)
    {
        var flat = gradients.Select(g => g is null || g.IsInvalid ? null : g.Strided().reshape(-1)).ToArray();
        return cat(
            [
                .. _slices.Select(slice =>
                    flat[slice.Parameter] is { } gradient
                        ? gradient.narrow(0, slice.Start, slice.Count)
                        : zeros([slice.Count], Dtype, Device)
                ),
            ],
            0
        ); // [P]
    }

    /// <summary>Adds a vector <c>[P]</c> to the parameters, in place; for calls under no_grad.</summary>
    public void Move(Parameter[] values, Tensor vector)
    {
        using var scope = NewDisposeScope();
        var flat = values.Select(value => value.detach().reshape(-1).clone()).ToArray();
        long at = 0;
        foreach (var (parameter, start, count) in _slices)
        {
            flat[parameter].narrow(0, start, count).add_(vector.narrow(0, at, count));
            at += count;
        }

        for (var k = 0; k < values.Length; k++)
        {
            values[k].copy_(flat[k].reshape(values[k].shape));
        }
    }

    /// <summary>A vector <c>[P]</c> in the shapes of <see cref="Values"/>, in the current scope; elements that take no part are
    /// zero.</summary>
    public Tensor[] Spread(Parameter[] values, Tensor vector)
    {
        var spread = values.Select(value => zeros(value.shape, vector.dtype, vector.device)).ToArray();
        using var scope = NewDisposeScope();
        long at = 0;
        foreach (var (parameter, start, count) in _slices)
        {
            spread[parameter].reshape(-1).narrow(0, start, count).copy_(vector.narrow(0, at, count));
            at += count;
        }

        return spread;
    }

    private static Tensor[] Cut(Tensor rows, IReadOnlyList<ParameterPart> parts, long at)
    {
        var cut = new Tensor[parts.Count];
        for (var p = 0; p < cut.Length; p++)
        {
            cut[p] = rows.narrow(1, at, parts[p].Count); // [B, P_k]
            at += parts[p].Count;
        }

        return cut;
    }
}
