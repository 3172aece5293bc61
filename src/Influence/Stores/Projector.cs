using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>Projects a batch's gradients, layer by layer; of factored ones the factors, so that no gradient is written out.</summary>
internal sealed class Projector : IDisposable
{
    private readonly GradientSession _session;
    private readonly PartProjection[][] _projections = [];
    private readonly (Tensor Column, Tensor? Sign)[][]? _sketch;
    private readonly StoredDirection? _direction;
    private readonly StoredCurvature? _curvature;
    private readonly long _width;

    /// <param name="session">Open; its parts are the layers, in any order.</param>
    /// <param name="manifest">How to project.</param>
    /// <param name="matrices">Those that the data gave, by name; the matrices live in the current scope.</param>
    /// <param name="folder">The store's.</param>
    public Projector(GradientSession session, StoreManifest manifest, IReadOnlyDictionary<string, Tensor> matrices, string folder)
    {
        (_session, _width) = (session, manifest.Width());
        var kind = manifest.DirectionOf();
        _curvature = kind == GradientProjection.UpdateDirection.Preconditioned ? new StoredCurvature(session, folder, matrices) : null;
        _direction = kind is GradientProjection.UpdateDirection.AdamUpdate or GradientProjection.UpdateDirection.AdamScaled
            ? new StoredDirection(session, kind, matrices)
            : null;
        if (manifest.FormOf() is GradientProjection.Kind.TwoSided or GradientProjection.Kind.Principal)
        {
            var byName = new Dictionary<string, PartProjection>();
            long first = 0;
            foreach (var layer in manifest.Layers)
            {
                byName[layer.Name] = new PartProjection(
                    layer.Outputs,
                    layer.Inputs,
                    first,
                    Matrix(layer.Name + PrincipalDirections.Outputs)
                        ?? SignMatrix.Of(
                            manifest.Seed,
                            layer.Name,
                            "outputs",
                            layer.Outputs,
                            layer.KeptOutputs,
                            session.Dtype,
                            session.Device
                        ),
                    Matrix(layer.Name + PrincipalDirections.Inputs)
                        ?? SignMatrix.Of(manifest.Seed, layer.Name, "inputs", layer.Inputs, layer.KeptInputs, session.Dtype, session.Device)
                );
                first += layer.Size();
            }

            _projections = [.. session.Parts.Select(parts => parts.Select(part => byName[part.Name]).ToArray())];
        }
        else if (manifest.Layers[0].Outputs == _width)
        {
            // With room for all, columns are parameters.
            long first = 0;
            _sketch =
            [
                .. session.Parts.Select(parts =>
                    parts
                        .Select(part =>
                            ((Tensor, Tensor?))
                                (arange(Kept(first), Kept(first += part.Count), Kept(1), ScalarType.Int64, session.Device), null)
                        )
                        .ToArray()
                ),
            ];
        }
        else if (manifest.FormOf() == GradientProjection.Kind.CountSketch)
        {
            _sketch =
            [
                .. session.Parts.Select(parts =>
                    parts
                        .Select(part =>
                        {
                            var (columns, signs) = SignMatrix.Sketch(manifest.Seed, part.Name, part.Count, _width);
                            return ((Tensor, Tensor?))
                                (tensor(columns, device: session.Device), tensor(signs, dtype: session.Dtype, device: session.Device));
                        })
                        .ToArray()
                ),
            ];
        }
        else
        {
            _projections =
            [
                .. session.Parts.Select(parts =>
                    parts.Select(PartProjection (part) => new WholeProjection(part.Name, part.Count, _width, manifest.Seed)).ToArray()
                ),
            ];
        }

        Tensor? Matrix(string name) => matrices.TryGetValue(name, out var matrix) ? matrix.to(session.Dtype, session.Device) : null;
    }

    /// <summary>Writes rows, exact norms and losses of a batch to their places.</summary>
    /// <param name="batch">B examples.</param>
    /// <param name="isQuery">Whether they are queries, whose gradients stay gradients where training examples' become updates.</param>
    /// <param name="rows"><c>[B, K]</c> on the CPU.</param>
    /// <param name="norms">B places.</param>
    /// <param name="losses">B places.</param>
    public void Project(ExampleBatch batch, bool isQuery, Tensor rows, Span<double> norms, Span<double> losses)
    {
        using var scope = NewDisposeScope();
        var inPlace = rows.dtype == _session.Dtype && _session.Device.type == DeviceType.CPU;
        var own = inPlace ? rows.zero_() : zeros([batch.Count, _width], _session.Dtype, _session.Device); // [B, K]
        var squares = zeros([batch.Count], ScalarType.Float64, _session.Device);
        using Scalar one = Kept(1);
        using (var gradients = _session.Capture(batch, LossKind.Training))
        {
            for (var k = 0; k < gradients.Blocks.Count; k++)
            {
                if (gradients.Blocks[k] is { } captured)
                {
                    using var step = NewDisposeScope();
                    if (_curvature is not null)
                    {
                        AddPreconditioned(own, squares, captured, k);
                        continue;
                    }

                    var block = _direction?.Apply(captured, k, isQuery) ?? captured;
                    squares.add_(block.SquaredNorms().to_type(ScalarType.Float64), one);
                    if (_sketch is not null)
                    {
                        block.AddSketch(own, _sketch[k]);
                    }
                    else
                    {
                        block.AddProjected(own, _projections[k]);
                    }

                    block.Release();
                    captured.Release();
                }
            }

            (gradients.Losses ?? _session.Losses.Evaluate(batch, LossKind.Training).detach())
                .to_type(ScalarType.Float64)
                .cpu()
                .data<double>()
                .ToArray()
                .CopyTo(losses);
        }

        var lengths = squares.cpu().data<double>().ToArray();
        if (!double.IsFinite(own.sum().to_type(ScalarType.Float64).item<double>() + lengths.Sum()))
        {
            FiniteRows.Check(own, batch.Ids, "Gradients");
            FiniteRows.Check(squares.unsqueeze(1), batch.Ids, "Norms of gradients");
        }

        for (var i = 0; i < lengths.Length; i++)
        {
            norms[i] = Math.Sqrt(Math.Max(0, lengths[i])); // a ghost norm of zero may round to below it
        }

        if (!inPlace)
        {
            rows.copy_(own);
        }
    }

    public void Dispose() => _curvature?.Dispose();

    private void AddPreconditioned(Tensor rows, Tensor squares, BlockGradients captured, int block)
    {
        if (_curvature!.SquaredNorms(captured, block) is { } norms)
        {
            using Scalar one = Kept(1);
            squares.add_(norms.to_type(ScalarType.Float64), one);

            // What the norms needed was made in a scope of theirs.
            captured.Release();
            if (_sketch is not null)
            {
                _curvature.AddSketch(rows, captured, block, _sketch[block]);
            }
            else
            {
                _curvature.AddProjected(rows, captured, block, _projections[block]);
            }
        }

        captured.Release();
    }

    /// <summary>So many that what the largest block makes fits the budget.</summary>
    public int ExamplesAtOnce(IReadOnlyList<BlockGradients?> blocks, long budget)
    {
        var largest = blocks
            .Select(
                (block, k) =>
                    block is null ? 1
                    : _sketch is not null ? block.NumbersToSketch(_session.Parts[k].Sum(p => (double)p.Count))
                    : _direction is not null || _curvature is not null ? 4 * _session.Parts[k].Sum(p => (double)p.Count)
                    : block.NumbersToProject(_projections[k])
            )
            .DefaultIfEmpty(1)
            .Max();
        return (int)Math.Clamp(budget / ((largest + _width) * _session.Dtype.ElementSize()), 1, int.MaxValue / 2);
    }
}
