using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>Projects a batch's gradients, layer by layer; of factored ones the factors, so that no gradient is written out.</summary>
internal sealed class Projector
{
    private readonly GradientSession _session;
    private readonly PartProjection[][] _projections;
    private readonly long _width;

    /// <param name="session">Open; its parts are the layers, in any order.</param>
    /// <param name="layers">The layers, in the order of their columns.</param>
    /// <param name="seed">Of the signs; the matrices live in the current scope.</param>
    public Projector(GradientSession session, IReadOnlyList<StoredLayer> layers, long seed)
    {
        var projections = new Dictionary<string, PartProjection>();
        foreach (var layer in layers)
        {
            projections[layer.Name] = new PartProjection(
                layer.Outputs,
                layer.Inputs,
                _width,
                SignMatrix.Of(seed, layer.Name, "outputs", layer.Outputs, layer.KeptOutputs, session.Dtype, session.Device),
                SignMatrix.Of(seed, layer.Name, "inputs", layer.Inputs, layer.KeptInputs, session.Dtype, session.Device));
            _width += layer.Size();
        }

        _session = session;
        _projections = [.. session.Parts.Select(parts => parts.Select(part => projections[part.Name]).ToArray())];
    }

    /// <summary>Rows <c>[B, K]</c> and exact norms, float64 <c>[B]</c>, both on the CPU, in the current scope.</summary>
    public (Tensor Rows, Tensor Norms) Project(ExampleBatch batch, LossKind kind)
    {
        using var scope = NewDisposeScope();
        var rows = zeros([batch.Count, _width], _session.Dtype, _session.Device);       // [B, K]
        var squares = zeros([batch.Count], ScalarType.Float64, _session.Device);
        using (var gradients = _session.Capture(batch, kind))
        {
            for (var k = 0; k < gradients.Blocks.Count; k++)
            {
                if (gradients.Blocks[k] is { } block)
                {
                    using var step = NewDisposeScope();
                    squares.add_(block.SquaredNorms().to_type(ScalarType.Float64));
                    block.AddProjected(rows, _projections[k]);
                    block.Release();
                }
            }
        }

        var norms = squares.clamp_min(0).sqrt();                                        // a ghost norm of zero may round to below it
        FiniteRows.Check(rows, batch.Ids, "Gradients");
        FiniteRows.Check(norms.unsqueeze(1), batch.Ids, "Norms of gradients");
        var (ownRows, ownNorms) = (rows.cpu().alias(), norms.cpu().alias());
        return (ownRows.MoveToOuterDisposeScope(), ownNorms.MoveToOuterDisposeScope());
    }

    /// <summary>So many that what the largest block makes fits the budget.</summary>
    public int ExamplesAtOnce(IReadOnlyList<BlockGradients?> blocks, long budget)
    {
        var largest = blocks.Zip(_projections, (block, own) => block?.NumbersToProject(own) ?? 1).DefaultIfEmpty(1).Max();
        return (int)Math.Clamp(budget / ((largest + _width) * _session.Dtype.ElementSize()), 1, int.MaxValue / 2);
    }
}
