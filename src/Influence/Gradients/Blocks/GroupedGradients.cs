using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Gradients of a convolution with groups of channels: for each group a sum of outer products over positions. Written out,
/// the groups' rows follow each other.
/// </summary>
/// <param name="examples">B.</param>
/// <param name="make">The parts written out, <c>[B, P_k]</c>.</param>
/// <param name="factors">a <c>[B, g, T, I/g]</c> and d <c>[B, g, T, O/g]</c>.</param>
/// <param name="bias">The bias takes part.</param>
internal sealed class GroupedGradients(
    long examples,
    Func<Tensor[]> make,
    Func<(Tensor Activation, Tensor OutputGradient)> factors,
    bool bias
) : BlockGradients(examples)
{
    public override bool HasBias => bias;

    /// <summary>Whether a and d have changed places: what came back from the loss is then a.</summary>
    public bool IsTransposed { get; init; }

    /// <summary>a <c>[B, g, T, I/g (+1)]</c>, with a column of ones for the bias, and d <c>[B, g, T, O/g]</c>.</summary>
    public (Tensor Activation, Tensor OutputGradient) Factors()
    {
        var (a, d) = factors();
        return (bias ? cat([a, ones([.. a.shape[..^1], 1], a.dtype, a.device)], -1) : a, d);
    }

    public override Tensor GroupedSpectrum(Tensor input, Tensor output)
    {
        using var scope = NewDisposeScope();
        var (a, d) = Factors();
        var (left, right) = (einsum("bgto,gop->bgtp", d, output), einsum("bgti,gij->bgtj", a, input));
        return einsum("bgtp,bgtj->bgpj", left, right).MoveToOuterDisposeScope();
    }

    public override Tensor? NotFinite()
    {
        using var scope = NewDisposeScope();
        var (a, d) = factors();
        return NotFinite(IsTransposed ? a : d)?.MoveToOuterDisposeScope();
    }

    protected override Tensor[] MakeDense() => make();
}
