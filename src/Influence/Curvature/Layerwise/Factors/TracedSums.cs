using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// Sums of a layer of its own whose product of factors is divided by a trace: the input's basis has the eigenvalues of its sum over its
/// trace, so that products of eigenvalues are the curvature's.
/// </summary>
internal abstract class TracedSums(Covariance input, Covariance output) : FactorSums
{
    protected Covariance Input => input;

    protected Covariance Output => output;

    public override bool IsFinite => input.IsFinite && output.IsFinite;

    public override (FactorBasis Input, FactorBasis Output) Decompose(ScalarType dtype) =>
        (input.Decompose(dtype, unitTrace: true), output.Decompose(dtype));

    public override void Exchange(FitState state)
    {
        input.Exchange(state, "input");
        output.Exchange(state, "output");
    }

    public override void Dispose()
    {
        input.Dispose();
        output.Dispose();
    }
}
