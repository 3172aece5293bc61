using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// The projection of a part's gradient to all k columns of a row, R' g, with signs that are drawn again for each use, so that R is never
/// there as a whole: P k numbers would be more than the gradients themselves.
/// </summary>
/// <param name="Layer">The part's name, by which its signs are drawn.</param>
/// <param name="Parameters">P_p.</param>
/// <param name="Columns">k.</param>
/// <param name="Seed">Of the signs.</param>
internal sealed record WholeProjection(string Layer, long Parameters, long Columns, long Seed)
    : PartProjection(Parameters, 1, 0, null, null)
{
    private const string Side = "whole";
    private const long NumbersAtOnce = 1 << 22;

    /// <summary>Writes out what is drawn at once, beside the part's gradients.</summary>
    public override long KeptSides => Columns;

    public override void AddWritten(Tensor rows, Tensor gradients)
    {
        var atOnce = Math.Max(1, NumbersAtOnce / Columns);
        using var scope = NewDisposeScope();
        var signs = empty([atOnce, Columns], ScalarType.Float32);
        for (long first = 0; first < Parameters; first += atOnce)
        {
            using var step = NewDisposeScope();
            var count = Math.Min(atOnce, Parameters - first);
            var own = signs.narrow(0, 0, count);
            SignMatrix.Fill(own, Seed, Layer, Side, first, (float)(1 / Math.Sqrt(Columns)));
            rows.addmm_(gradients.narrow(1, first, count), own.to(rows.dtype, rows.device));
        }
    }

    public override void AddFactors(Tensor rows, Tensor outputGradient, Tensor activation)
    {
        using var scope = NewDisposeScope();
        AddWritten(rows, outputGradient.transpose(1, 2).bmm(activation).reshape(rows.shape[0], -1));
    }
}
