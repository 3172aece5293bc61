using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>The statistics of an embedding table: token frequencies, or what stands for them, and a covariance over the output
/// gradients.</summary>
internal sealed class TokenFit : BlockFit<TokenGradients>
{
    private readonly CurvatureKind _kind;
    private readonly LayerwisePreconditioner.FactorKind _factors;
    private readonly Covariance _output;
    private readonly Tensor _frequencies;
    private readonly Tensor _sums;
    private readonly ScalarType _dtype;
    private FactorBasis? _basis;
    private bool _finished;

    public TokenFit(TokenGradients sample, CurvatureKind kind, int maximumFactor, LayerwisePreconditioner.FactorKind factors)
    {
        using var scope = NewDisposeScope();
        (_kind, _factors) = (kind, factors);
        var device = sample.OutputGradient.device;
        _dtype = sample.OutputGradient.dtype;
        _output = new Covariance(FactorLayout.Sizes(sample.Width, maximumFactor));
        _frequencies = zeros([sample.Vocabulary], ScalarType.Float64, device).DetachFromDisposeScope();
        _sums = zeros(kind == CurvatureKind.Kfac ? [0] : [sample.Vocabulary, sample.Width], ScalarType.Float64, device)
            .DetachFromDisposeScope();
        _basis =
            kind == CurvatureKind.Diagonal ? new FactorBasis([], zeros([sample.Width], ScalarType.Float64).DetachFromDisposeScope()) : null;
    }

    public override bool NeedsSecondPass => _kind == CurvatureKind.Ekfac;

    protected override void AddOwn(TokenGradients gradients)
    {
        if (_kind == CurvatureKind.Diagonal)
        {
            AddOwnEigenvalues(gradients);
            return;
        }

        using var scope = NewDisposeScope();
        var (tokens, added, rows, count) = FactorSums.OfTable(_factors, gradients); // [R], [R], [R, D]
        _frequencies.index_add_(0, tokens, added, Kept(1));
        _output.Add(rows, count);
    }

    public override bool IsFinite => _output.IsFinite;

    public override void Decompose() => _basis ??= _output.Decompose(_dtype);

    protected override void AddOwnEigenvalues(TokenGradients gradients) =>
        gradients.AddTableSquares(_sums, _basis!.Rotate, KroneckerFit.NumbersAtOnce);

    public override void Exchange(FitState state, FitStage stage)
    {
        Tensor? frequencies = _frequencies,
            sums = _sums;
        switch (stage)
        {
            case FitStage.Sums or FitStage.Bases when _kind == CurvatureKind.Diagonal:
            case FitStage.Eigenvalues when _kind == CurvatureKind.Ekfac:
                state.Sum("squares", ref sums);
                break;
            case FitStage.Sums:
                state.Sum("frequencies", ref frequencies);
                _output.Exchange(state, "output");
                break;
            case FitStage.Bases:
                state.Sum("frequencies", ref frequencies);
                _output.ExchangeRows(state, "output");
                state.Basis("output", ref _basis);
                break;
            default:
                break;
        }
    }

    public override BlockCurvature Finish(string name, long examples)
    {
        using var scope = NewDisposeScope();
        var eigenvalues = _kind == CurvatureKind.Kfac ? Products(examples) : _sums / Kept(examples); // [V, D]
        _finished = true;
        return new TokenCurvature(_basis!, eigenvalues.to_type(_dtype).DetachFromDisposeScope()) { Name = name };
    }

    /// <summary>K-FAC's frequencies are means over positions; the other kinds' are shares of the trace.</summary>
    private Tensor Products(long examples)
    {
        var total = _factors == LayerwisePreconditioner.FactorKind.Kfac ? _output.Rows : _frequencies.sum().item<double>();
        var tokens = _frequencies / Kept(total > 0 ? total : 1); // [V]
        var values = _basis!.Values.to(_frequencies.device); // [D]
        return tokens.outer(_factors == LayerwisePreconditioner.FactorKind.Shampoo ? values / Kept(examples) : values);
    }

    public override void Dispose()
    {
        _output.Dispose();
        _frequencies.Dispose();
        _sums.Dispose();
        if (!_finished)
        {
            _basis?.Dispose();
        }
    }
}
