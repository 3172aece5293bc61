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

    public TiedFit(TiedGradients sample, int maximumFactor)
    {
        var head = Heads(sample).First();
        _dtype = head.OutputGradient.dtype;
        _input = new Covariance(FactorLayout.Sizes(head.Inputs, maximumFactor));
        _sums = zeros([head.Outputs, head.Inputs], ScalarType.Float64, head.OutputGradient.device).DetachFromDisposeScope();
    }

    /// <summary>Whether the uses are at least one embedding and at least one linear layer, over rows of the same width.</summary>
    public static bool Covers(BlockGradients gradients) =>
        gradients is TiedGradients tied
        && Heads(tied).Any()
        && tied.Uses.Any(use => use is TokenGradients)
        && tied.Uses.All(use => use is TokenGradients or FactoredGradients { Weight: true, Bias: false, IsTransposed: false });

    public override bool NeedsSecondPass => true;

    public override bool IsFinite => _input.IsFinite;

    /// <summary>A batch that gives gradients of single examples has no inputs of the head to add: any basis is one, and eigenvalues are
    /// measured with all.</summary>
    public override void Add(BlockGradients gradients)
    {
        using var scope = NewDisposeScope();
        foreach (var head in gradients is TiedGradients tied ? Heads(tied) : [])
        {
            _input.Add(head.CountedActivation(), head.CountedPositions()); // [R, D]
        }
    }

    public override void Decompose() => _basis ??= _input.Decompose(_dtype);

    public override void AddEigenvalues(BlockGradients gradients)
    {
        var written = gradients is TiedGradients ? null : gradients.Dense()[0];
        using var scope = NewDisposeScope();
        if (gradients is not TiedGradients tied)
        {
            var table = written!.reshape(gradients.Examples, _sums.shape[0], _sums.shape[1]);
            _sums.add_(_basis!.Rotate(table).Squared().sum(0L).to_type(ScalarType.Float64));
            return;
        }

        // Activations are made here, so that they outlive the chunks.
        List<(Tensor Tokens, Tensor Rotated)> tokens =
        [
            .. tied.Uses.OfType<TokenGradients>().Select(t => (t.Tokens, _basis!.Rotate(t.OutputGradient))),
        ];
        List<(Tensor Rotated, Tensor Gradient)> heads = [.. Heads(tied).Select(h => (_basis!.Rotate(h.Activation), h.OutputGradient))];
        var atOnce = Math.Max(1, KroneckerFit.NumbersAtOnce / _sums.numel());
        for (long start = 0; start < gradients.Examples; start += atOnce)
        {
            using var chunk = NewDisposeScope();
            var count = Math.Min(atOnce, gradients.Examples - start);
            var spectrum = zeros([count, _sums.shape[0], _sums.shape[1]], _dtype, _sums.device); // [b, V, D]
            foreach (var (a, d) in heads)
            {
                spectrum.add_(d.narrow(0, start, count).transpose(1, 2).bmm(a.narrow(0, start, count)));
            }

            foreach (var (token, d) in tokens)
            {
                var first = arange(Kept(0), Kept(count), Kept(1), ScalarType.Int64, token.device).mul_(Kept(_sums.shape[0])).unsqueeze(1);
                var place = (token.narrow(0, start, count) + first).reshape(-1); // [b*T]
                spectrum.view(-1, _sums.shape[1]).index_add_(0, place, d.narrow(0, start, count).reshape(-1, _sums.shape[1]), Kept(1));
            }

            _sums.add_(spectrum.Squared().sum(0L).to_type(ScalarType.Float64));
        }
    }

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

    private static IEnumerable<FactoredGradients> Heads(TiedGradients tied) => tied.Uses.OfType<FactoredGradients>();
}
