using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Gradients that are sums of outer products over positions, G = sum over t of d_t a_t', and, with a bias, sum over t of
/// d_t: every linear layer, and convolutions over their patches.
/// </summary>
/// <param name="activation">a, <c>[B, T, I]</c>; made on first use.</param>
/// <param name="outputGradient">d, <c>[B, T, O]</c>.</param>
/// <param name="inputs">I.</param>
/// <param name="weight">The weight takes part.</param>
/// <param name="bias">The bias takes part.</param>
/// <param name="denseWeight">A way to G that is cheaper than the product over a, where the layer knows one: <c>[B, O*I]</c>.</param>
internal sealed class FactoredGradients(
    Func<Tensor> activation, Tensor outputGradient, long inputs, bool weight, bool bias, Func<Tensor>? denseWeight = null)
    : BlockGradients(outputGradient.shape[0])
{
    private Tensor? _activation;

    /// <summary>a, <c>[B, T, I]</c>.</summary>
    public Tensor Activation => _activation ??= activation();

    /// <summary>
    /// a with a column of ones where the bias takes part, <c>[B, T, I + 1]</c>: the bias is then one more input, and ghost
    /// products need no pass of their own for it. A new tensor at each call.
    /// </summary>
    public Tensor ActivationWithBias()
    {
        if (!bias)
        {
            return Activation.clone();
        }

        var extended = ones([Examples, Positions, inputs + 1], outputGradient.dtype, outputGradient.device);
        extended.narrow(2, 0, inputs).copy_(Activation);
        return extended;
    }

    /// <summary>Some of the examples, with what was made of them so far; views, valid as long as this is not released.</summary>
    public FactoredGradients Slice(long start, long count) => new(
        () => Activation.narrow(0, start, count), outputGradient.narrow(0, start, count), inputs, weight, bias);

    /// <summary>d, <c>[B, T, O]</c>.</summary>
    public Tensor OutputGradient => outputGradient;

    /// <summary>Optional <c>[B, T]</c>: the positions that count; d is zero at the others.</summary>
    public Tensor? Mask { get; init; }

    /// <summary>Equal for layers of one batch that saw the same input; null where that is not known.</summary>
    public string? InputKey { get; init; }

    /// <summary>
    /// Whether the last input is the bias's column, though <see cref="Bias"/> is false: factors that have no form without it.
    /// Written out, it is a part of its own.
    /// </summary>
    public bool BiasColumn { get; init; }

    /// <summary>Whether the positions are the examples' own (tokens), and not for instance pixels.</summary>
    public bool PositionsLead { get; init; }

    public override long? OwnPositions => PositionsLead ? Positions : null;

    /// <summary>d_t' (G_q a_t) at every position.</summary>
    public override Tensor ByPosition(Tensor[] queries)
    {
        using var scope = NewDisposeScope();
        var (q, rows) = (queries[0].shape[0], Examples * Positions);
        var d = outputGradient.reshape(rows, Outputs).t();                              // [O, B*T]
        var products = zeros([q, rows], d.dtype, d.device);
        if (weight)
        {
            var response = queries[0].reshape(q * Outputs, Inputs).mm(Activation.reshape(rows, Inputs).t());
            products.add_(response.reshape(q, Outputs, rows).mul_(d.unsqueeze(0)).sum(1));
        }

        if (bias)
        {
            products.addmm_(queries[^1], d);
        }

        return products.reshape(q, Examples, Positions).MoveToOuterDisposeScope();
    }

    /// <summary>The number of positions of all examples that count.</summary>
    public double CountedPositions()
    {
        if (Mask is null)
        {
            return (double)Examples * Positions;
        }

        using var scope = NewDisposeScope();
        return Mask.to_type(ScalarType.Float64).sum().item<double>();
    }

    /// <summary>a with its column of ones, position by position, <c>[B*T, I (+1)]</c>; zero at positions that do not count.</summary>
    public Tensor CountedActivation()
    {
        var rows = (bias ? ActivationWithBias() : Activation).reshape(Examples * Positions, -1);
        return Mask is null ? rows : rows * Mask.reshape(-1, 1).to_type(rows.dtype);
    }

    public bool Weight => weight;

    public bool Bias => bias;

    public long Positions => outputGradient.shape[1];

    public long Inputs => inputs;

    public long Outputs => outputGradient.shape[2];

    public override void Release()
    {
        base.Release();
        _activation?.Dispose();
        _activation = null;
    }

    public override Tensor SquaredNorms()
    {
        if (!weight)
        {
            return SquaredNorms(Dense());
        }

        if (Positions == 1)
        {
            var a = Activation.square().sum(2).squeeze(1);                              // [B]
            var d = outputGradient.square().sum(2).squeeze(1);                          // [B]
            return (bias ? a.add_(1) : a).mul_(d);
        }

        if (ContractionCost.GhostNorm(this) < ContractionCost.DenseNorm(this))
        {
            var a = Activation.bmm(Activation.transpose(1, 2));                         // [B, T, T]
            var d = outputGradient.bmm(outputGradient.transpose(1, 2));                 // [B, T, T]
            return (bias ? a.add_(1) : a).mul_(d).sum(1, 2);
        }

        return SquaredNorms(Dense());
    }

    protected override Tensor[] MakeDense()
    {
        var parts = new List<Tensor>();
        if (BiasColumn)
        {
            var whole = outputGradient.transpose(1, 2).bmm(Activation);                 // [B, O, I + 1]
            return [whole.narrow(2, 0, Inputs - 1).reshape(Examples, -1), whole.select(2, Inputs - 1).contiguous()];
        }

        if (weight)
        {
            parts.Add(denseWeight is not null
                ? denseWeight()
                : outputGradient.transpose(1, 2).bmm(Activation).reshape(Examples, Outputs * Inputs));
        }

        if (bias)
        {
            parts.Add(outputGradient.sum(1));                                           // [B, O]
        }

        return [.. parts];
    }
}
