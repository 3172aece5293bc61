using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TorchSharp.Modules;

/// <summary>The settings of an encoder layer.</summary>
internal sealed record EncoderLayerOptions(long Width, long Heads, long Hidden, double Dropout, nn.Activations Activation);

/// <summary>
/// What libtorch's encoder layer does: norm1(x + attention(x)), then norm2(y + linear2(activation(linear1(y)))).
/// </summary>
/// <param name="owner">The module that holds the parameters.</param>
/// <param name="prefix">What comes before their names: empty, or <c>"layers.0."</c>.</param>
/// <param name="options">The settings.</param>
internal sealed class EncoderLayerCore(nn.Module owner, string prefix, EncoderLayerOptions options)
{
    private readonly AttentionCore _attention =
        new(owner, prefix + "self_attn.", options.Width, options.Heads, options.Dropout, zeroAttention: false);

    /// <summary>New parameters under their names, in libtorch's order and with its initial values.</summary>
    public static IEnumerable<(string Name, Tensor Value)> Create(EncoderLayerOptions options)
    {
        foreach (var (name, value) in AttentionCore.Create(options.Width, options.Heads, true, false, options.Width, options.Width))
        {
            yield return ($"self_attn.{name}", value);
        }

        yield return ("linear1.weight", AttentionCore.LinearWeight(options.Hidden, options.Width));
        yield return ("linear1.bias", LinearBias(options.Hidden, options.Width));
        yield return ("linear2.weight", AttentionCore.LinearWeight(options.Width, options.Hidden));
        yield return ("linear2.bias", LinearBias(options.Width, options.Hidden));
        foreach (var norm in (string[])["norm1", "norm2"])
        {
            yield return ($"{norm}.weight", AttentionCore.Empty(options.Width).fill_(1));
            yield return ($"{norm}.bias", AttentionCore.Empty(options.Width).zero_());
        }
    }

    /// <summary>The output, <c>[T, B, E]</c> as the input.</summary>
    public Tensor Forward(Tensor source, Tensor? mask, Tensor? keyPaddingMask)
    {
        using var scope = NewDisposeScope();
        var (attended, _) = _attention.Forward(source, source, source, keyPaddingMask, needWeights: false, mask);
        var middle = Norm("norm1", source.add(Drop(attended)));                             // [T, B, E]
        var hidden = Linear("linear1", middle);                                             // [T, B, F]
        hidden = options.Activation == nn.Activations.GELU ? F.gelu(hidden) : F.relu(hidden);
        var output = Linear("linear2", Drop(hidden));                                       // [T, B, E]
        return Norm("norm2", middle.add(Drop(output))).MoveToOuterDisposeScope();
    }

    private static Tensor LinearBias(long outputs, long inputs) =>
        nn.init.uniform_(AttentionCore.Empty(outputs), -1 / Math.Sqrt(inputs), 1 / Math.Sqrt(inputs));

    private Tensor Drop(Tensor tensor) => F.dropout(tensor, options.Dropout, owner.training);

    private Tensor Linear(string name, Tensor input) => F.linear(input, Find($"{name}.weight"), Find($"{name}.bias"));

    private Tensor Norm(string name, Tensor input) => F.layer_norm(input, [options.Width], Find($"{name}.weight"), Find($"{name}.bias"), 1e-5);

    private Parameter Find(string name) => owner.get_parameter(prefix + name)!;
}
