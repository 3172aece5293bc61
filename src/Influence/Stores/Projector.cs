using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>Projects a batch's gradients, layer by layer; of factored ones the factors, so that no gradient is written out.</summary>
internal sealed class Projector
{
    private readonly GradientSession _session;
    private readonly Place[][] _places;
    private readonly long _width;

    /// <param name="session">Open; its parts are the layers, in any order.</param>
    /// <param name="layers">The layers, in the order of their columns.</param>
    /// <param name="seed">Of the signs; the matrices live in the current scope.</param>
    public Projector(GradientSession session, IReadOnlyList<StoredLayer> layers, long seed)
    {
        var places = new Dictionary<string, Place>();
        foreach (var layer in layers)
        {
            places[layer.Name] = new Place(
                layer,
                _width,
                SignMatrix.Of(seed, layer.Name, "outputs", layer.Outputs, layer.KeptOutputs, session.Dtype, session.Device),
                SignMatrix.Of(seed, layer.Name, "inputs", layer.Inputs, layer.KeptInputs, session.Dtype, session.Device));
            _width += layer.Size();
        }

        _session = session;
        _places = [.. session.Parts.Select(parts => parts.Select(part => places[part.Name]).ToArray())];
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
                    Add(rows, block, _places[k]);
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
        var largest = blocks.Zip(_places, (block, places) => block is null ? 1 : Numbers(block, places)).DefaultIfEmpty(1).Max();
        return (int)Math.Clamp(budget / ((largest + _width) * _session.Dtype.ElementSize()), 1, int.MaxValue / 2);
    }

    private static double Numbers(BlockGradients block, Place[] places)
    {
        var parameters = places.Sum(p => (double)p.Layer.Outputs * p.Layer.Inputs);
        var written = Math.Max(block.NumbersToWrite(parameters), 1);
        return block switch
        {
            TiedGradients tied => tied.Uses.Max(use => Numbers(use, places)),
            FactoredGradients f when IsFactored(f, places) => written + (f.Positions * (double)(f.Inputs + (2 * (places[0].Layer.KeptInputs + places[0].Layer.KeptOutputs)))),
            TokenGradients t when places[0].Left is not null => written + (t.Tokens.shape[1] * (double)(t.Width + (2 * (places[0].Layer.KeptInputs + places[0].Layer.KeptOutputs)))),
            _ => written + (3 * parameters),
        };
    }

    private static bool IsFactored(FactoredGradients f, Place[] places) =>
        f is { Weight: true, BiasColumn: false } && (f.Outputs, f.Inputs) == (places[0].Layer.Outputs, places[0].Layer.Inputs);

    private static void Add(Tensor rows, BlockGradients block, Place[] places)
    {
        using var scope = NewDisposeScope();
        switch (block)
        {
            case TiedGradients tied:
                foreach (var use in tied.Uses)
                {
                    Add(rows, use, places);
                    use.Release();
                }

                break;
            case FactoredGradients f when IsFactored(f, places):
                // (d R_o)' (a R_i), position by position.
                places[0].Add(rows, Right(f.OutputGradient, places[0].Left).transpose(1, 2).bmm(Right(f.Activation, places[0].Right)));
                if (f.Bias)
                {
                    places[1].Add(rows, Right(f.OutputGradient.sum(1), places[1].Left));
                }

                break;
            case TokenGradients t when places[0].Left is { } table:
                var left = table.index_select(0, t.Tokens.reshape(-1)).reshape(t.Examples, -1, table.shape[1]);     // [B, T, k_o]
                places[0].Add(rows, left.transpose(1, 2).bmm(Right(t.OutputGradient, places[0].Right)));
                break;
            default:
                var parts = block.Dense();
                for (var p = 0; p < parts.Length; p++)
                {
                    places[p].AddWritten(rows, parts[p]);
                }

                break;
        }
    }

    /// <summary>Values <c>[..., I]</c> times a matrix <c>[I, k]</c>.</summary>
    private static Tensor Right(Tensor values, Tensor? matrix) =>
        matrix is null ? values : values.reshape(-1, matrix.shape[0]).mm(matrix).reshape([.. values.shape[..^1], matrix.shape[1]]);

    /// <summary>A layer, its first column and its matrices; null for the identity.</summary>
    private sealed record Place(StoredLayer Layer, long First, Tensor? Left, Tensor? Right)
    {
        /// <summary>Adds what was projected, <c>[B, k_o, k_i]</c>.</summary>
        public void Add(Tensor rows, Tensor values) => rows.narrow(1, First, Layer.Size()).add_(values.reshape(rows.shape[0], Layer.Size()));

        /// <summary>Projects and adds what is written out, <c>[B, O*I]</c>.</summary>
        public void AddWritten(Tensor rows, Tensor gradients)
        {
            using var scope = NewDisposeScope();
            var g = gradients.reshape(-1, Layer.Outputs, Layer.Inputs);
            g = Projector.Right(g, Right);                                              // [B, O, k_i]
            Add(rows, Left is null ? g : Left.t().expand(g.shape[0], -1, -1).bmm(g));   // [B, k_o, k_i]
        }
    }
}
