using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// EK-FAC of a table that is embedding and head at once. An example's gradient is G = G_head + G_embedding, <c>[V, D]</c>, and its Fisher
/// has the cross terms of the two. The basis is I (x) Q_A, tokens as they are and the eigenvectors of the head's inputs; the eigenvalues
/// are measured along it with the whole gradient, Lambda[v, i] = mean over examples of ((G Q_A)[v, i])^2: the diagonal of the Fisher in
/// that basis, cross terms included, in V D numbers.
/// </summary>
internal sealed class TiedFit : BlockFit
{
    private readonly Covariance _input;
    private readonly Tensor _sums;
    private readonly ScalarType _dtype;
    private FactorBasis? _basis;
    private bool _finished;

    /// <param name="sample">The table's gradients in a first batch.</param>
    /// <param name="head">The sizes of the head's factors.</param>
    /// <param name="maximumFactor">The largest diagonal block.</param>
    public TiedFit(BlockGradients sample, FactorShape head, int maximumFactor)
    {
        var (activation, _) = sample.CountedInputs().First();
        _dtype = activation.dtype;
        _input = new Covariance(FactorLayout.Sizes(head.Inputs, maximumFactor));
        _sums = zeros([head.Outputs, head.Inputs], ScalarType.Float64, activation.device).DetachFromDisposeScope();
    }

    public override bool NeedsSecondPass => true;

    public override bool IsFinite => _input.IsFinite;

    /// <summary>A batch that gives gradients of single examples has no inputs of the head to add: any basis is one, and eigenvalues are
    /// measured with all.</summary>
    public override void Add(BlockGradients gradients)
    {
        using var scope = NewDisposeScope();
        foreach (var (activation, positions) in gradients.CountedInputs())
        {
            _input.Add(activation, positions); // [R, D]
        }
    }

    public override void Decompose() => _basis ??= _input.Decompose(_dtype);

    public override void AddEigenvalues(BlockGradients gradients) =>
        gradients.AddTableSquares(_sums, _basis!.Rotate, KroneckerFit.NumbersAtOnce);

    public override void Exchange(FitState state, FitStage stage)
    {
        Tensor? sums = _sums;
        switch (stage)
        {
            case FitStage.Sums:
                _input.Exchange(state, "input");
                break;
            case FitStage.Bases:
                state.Basis("input", ref _basis);
                break;
            default:
                state.Sum("eigenvalues", ref sums);
                break;
        }
    }

    public override BlockCurvature Finish(string name, long examples)
    {
        using var scope = NewDisposeScope();
        _finished = true;
        return new TokenCurvature(_basis!, (_sums / Kept(examples)).to_type(_dtype).DetachFromDisposeScope()) { Name = name };
    }

    public override void Dispose()
    {
        _input.Dispose();
        _sums.Dispose();
        if (!_finished)
        {
            _basis?.Dispose();
        }
    }
}
