using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Gradients;

/// <summary>
/// A native encoder layer written out: norm1(x + attention(x)), then norm2(y + linear2(activation(linear1(y)))), with taps
/// on every projection and norm.
/// </summary>
internal sealed class NativeEncoderLayer
{
    // libtorch's default, which TorchSharp lets nobody change.
    private const double Eps = 1e-5;

    private readonly NativeParameters _parameters;
    private readonly string _prefix;
    private readonly TrackedLayer? _linear1;
    private readonly TrackedLayer? _linear2;
    private readonly TrackedLayer? _norm1;
    private readonly TrackedLayer? _norm2;

    /// <summary>Makes the layers of an encoder layer, in the order of their calls.</summary>
    /// <param name="parameters">Where its parameters are.</param>
    /// <param name="prefix">What comes before their names: empty, or <c>layers.0.</c>.</param>
    public NativeEncoderLayer(NativeParameters parameters, string prefix)
    {
        (_parameters, _prefix) = (parameters, prefix);
        Attention = new NativeAttention(parameters, $"{prefix}self_attn.");
        var norm = new NormalizationRule([Attention.Width], Eps);
        _norm1 = Track("norm1", norm);
        _linear1 = Track("linear1", LinearRule.Instance);
        _linear2 = Track("linear2", LinearRule.Instance);
        _norm2 = Track("norm2", norm);

        TrackedLayer? Track(string name, LayerRule rule) =>
            parameters.Track(prefix + name, rule, $"{prefix}{name}.weight", $"{prefix}{name}.bias");
    }

    public NativeAttention Attention { get; }

    /// <summary>The attention's path in the module.</summary>
    public string AttentionName => $"{_prefix}self_attn";

    /// <summary>The output, <c>[T, B, E]</c> as the input.</summary>
    /// <param name="settings">The settings.</param>
    /// <param name="inputs">The input, <c>[T, B, E]</c>, as queries, keys and values, and the masks.</param>
    /// <param name="observe">Whether the layers note what they see.</param>
    /// <param name="watch">Whether the attention's watcher masks and sees.</param>
    public Tensor Forward(NativeSettings settings, NativeInputs inputs, bool observe, bool watch)
    {
        using var scope = NewDisposeScope();
        var attended = Attention.Forward(settings, inputs, observe, watch).Output; // [T, B, E]
        var middle = Norm(_norm1, "norm1", inputs.Query + attended); // [T, B, E]
        var hidden = Linear(_linear1, "linear1", middle); // [T, B, F]
        hidden = settings.Activation == nn.Activations.GELU ? F.gelu(hidden) : F.relu(hidden);
        var output = Linear(_linear2, "linear2", hidden); // [T, B, E]
        return Norm(_norm2, "norm2", middle + output).MoveToOuterDisposeScope();

        Tensor Linear(TrackedLayer? layer, string name, Tensor input) =>
            Observed(layer, input, F.linear(input, Find($"{name}.weight"), Find($"{name}.bias")));

        Tensor Norm(TrackedLayer? layer, string name, Tensor input) =>
            Observed(layer, input, F.layer_norm(input, [Attention.Width], Find($"{name}.weight"), Find($"{name}.bias"), Eps));

        Tensor Observed(TrackedLayer? layer, Tensor input, Tensor output) => (observe ? layer?.Observe(input, output) : null) ?? output;
    }

    private TorchSharp.Modules.Parameter Find(string name) => _parameters.Find(_prefix + name)!;
}
