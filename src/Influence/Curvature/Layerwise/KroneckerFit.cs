using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The two factors of a linear layer, of whatever kind; and, for EK-FAC, the mean over examples of the squared gradient along their
/// eigenvectors.
/// </summary>
internal sealed class KroneckerFit(FactorSums sums, bool measured) : BlockFit<FactoredGradients>
{
    /// <summary>Gradients along the eigenvectors are written out for so many numbers at a time, whatever the batch size.</summary>
    public const long NumbersAtOnce = 1 << 20;

    private FactorBasis? _inputBasis;
    private FactorBasis? _outputBasis;
    private Tensor? _eigenvalues;
    private ScalarType _dtype;
    private bool _finished;

    public override bool NeedsSecondPass => measured;

    protected override void AddOwn(FactoredGradients gradients)
    {
        _dtype = gradients.OutputGradient.dtype;
        sums.Add(gradients);
    }

    public override bool IsFinite => sums.IsFinite;

    public override void Decompose() => (_inputBasis, _outputBasis) = sums.Decompose(_dtype);

    /// <summary>For one position per example, (Q_G' d)^2 (Q_A' a)^2 summed over examples is one product of squares.</summary>
    protected override void AddOwnEigenvalues(FactoredGradients gradients)
    {
        using var scope = NewDisposeScope();
        Tensor squares; // [O, I']
        if (gradients.Positions == 1)
        {
            var a = gradients.Bias ? gradients.ActivationWithBias() : gradients.Activation;
            var d = _outputBasis!.Rotate(gradients.OutputGradient.squeeze(1)).Squared(); // [B, O]
            squares = d.t().mm(_inputBasis!.Rotate(a.squeeze(1)).Squared());
        }
        else
        {
            squares = zeros([_outputBasis!.Size, _inputBasis!.Size], _dtype, gradients.OutputGradient.device);
            KroneckerSpectrum.Visit(
                gradients,
                _inputBasis,
                _outputBasis,
                NumbersAtOnce,
                (_, spectrum) => squares.add_(spectrum.mul_(spectrum).sum(0L))
            );
        }

        var wide = squares.to_type(ScalarType.Float64);
        if (_eigenvalues is null)
        {
            _eigenvalues = wide.DetachFromDisposeScope();
        }
        else
        {
            _eigenvalues.add_(wide);
        }
    }

    public override void Exchange(FitState state, FitStage stage)
    {
        _dtype = state.Dtype;
        switch (stage)
        {
            case FitStage.Sums:
                sums.Exchange(state);
                break;
            case FitStage.Bases:
                sums.ExchangeBases(state, ref _inputBasis, ref _outputBasis);
                break;
            default:
                state.Sum("eigenvalues", ref _eigenvalues);
                break;
        }
    }

    public override BlockCurvature Finish(string name, long examples)
    {
        using var scope = NewDisposeScope();
        var eigenvalues = measured ? (_eigenvalues! / Kept(examples)).to_type(_dtype).contiguous().DetachFromDisposeScope() : null;
        sums.Finish(_outputBasis!, examples);
        _finished = true;
        return new KroneckerCurvature(_inputBasis!, _outputBasis!, eigenvalues) { Name = name };
    }

    public override void Dispose()
    {
        sums.Dispose();
        _eigenvalues?.Dispose();
        if (!_finished)
        {
            _inputBasis?.Dispose();
            _outputBasis?.Dispose();
        }
    }
}
