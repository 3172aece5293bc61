using System.Globalization;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// A native attention module, which no hook sees inside: its own hook recomputes it in managed code from its parameters,
/// with layers that can be tapped, and replaces its output. The module itself is not changed.
/// </summary>
internal sealed class NativeModule
{
    private readonly NativeParameters _parameters;
    private readonly NativeSettingsSearch _search;
    private readonly Action _unhook;

    private NativeModule(NativeParameters parameters, long width, bool isEncoder, AttentionSettings? given, Action unhook)
    {
        (_parameters, _unhook) = (parameters, unhook);
        var path = parameters.Path.Length == 0 ? "the model" : parameters.Path;
        _search = new NativeSettingsSearch(
            $"{path} ({parameters.Module.GetType().Name})", NativeSettings.Candidates(width, isEncoder, given));
    }

    /// <summary>The layers within, in the order of their calls.</summary>
    public IReadOnlyList<TrackedLayer> Layers => _parameters.Layers;

    /// <summary>A capture is on: the module is recomputed, and its layers note what they see.</summary>
    public bool IsWatched { get; set; }

    /// <summary>The module is recomputed though nothing is captured, for gradients of gradients.</summary>
    public bool Recomputes { get; set; }

    public void Unhook() => _unhook();

    /// <summary>Hooks a native module; null where it is none, and with a reason where it cannot be recomputed.</summary>
    /// <param name="module">Any module.</param>
    /// <param name="selected">Its own parameters that take part.</param>
    /// <param name="given">What the user says of its settings.</param>
    /// <param name="reason">Why it cannot be recomputed.</param>
    public static NativeModule? For(nn.Module module, IReadOnlyList<ModelParameter> selected, AttentionSettings? given, out string? reason)
    {
        reason = null;
        var parameters = new NativeParameters(module, selected);
        NativeModule? native = null;
        switch (module)
        {
            case MultiheadAttention attention:
                {
                    var core = new NativeAttention(parameters, string.Empty);
                    if ((reason = core.Problem) is not null)
                    {
                        return null;
                    }

                    var remover = attention.register_forward_hook((_, query, key, value, keyPadding, _, mask, output) =>
                        native!.OnForward(output, query, key, value, keyPadding, mask, core));
                    return native = new NativeModule(parameters, core.Width, isEncoder: false, given, remover.remove);
                }

            case TransformerEncoderLayer layer:
                {
                    List<NativeEncoderLayer> layers = [new(parameters, string.Empty)];
                    var remover = layer.register_forward_hook((_, source, output) => native!.OnForward(output, source, null, null, layers)!);
                    return native = new NativeModule(parameters, layers[0].Attention.Width, isEncoder: true, given, remover.remove);
                }

            case TransformerEncoder encoder:
                {
                    List<NativeEncoderLayer> layers = [];
                    while (parameters.Find(string.Create(CultureInfo.InvariantCulture, $"layers.{layers.Count}.linear1.weight")) is not null)
                    {
                        layers.Add(new(parameters, string.Create(CultureInfo.InvariantCulture, $"layers.{layers.Count}.")));
                    }

                    var remover = encoder.register_forward_hook((_, source, mask, keyPadding, output) => native!.OnForward(output, source, mask, keyPadding, layers)!);
                    return native = new NativeModule(parameters, layers[0].Attention.Width, isEncoder: true, given, remover.remove);
                }

            default:
                return null;
        }
    }

    // A null result leaves the module's output as it is; TorchSharp's delegate types do not say so.
    private Tuple<Tensor, Tensor> OnForward(
        Tuple<Tensor, Tensor> native, Tensor query, Tensor key, Tensor value, Tensor? keyPadding, Tensor? mask, NativeAttention core)
    {
        if (!IsWatched && !Recomputes)
        {
            return null!;
        }

        using var scope = NewDisposeScope();
        var settings = _search.Agree(native.Item1, _parameters.Module.training, s => core.Forward(s, query, key, value, keyPadding, mask, observe: false).Output);
        var (output, weights) = core.Forward(settings, query, key, value, keyPadding, mask, IsWatched);

        // Without need_weights the second result is invalid, and stays so.
        return Tuple.Create(output.MoveToOuterDisposeScope(), native.Item2.IsInvalid ? native.Item2 : weights.MoveToOuterDisposeScope());
    }

    private Tensor? OnForward(Tensor native, Tensor source, Tensor? mask, Tensor? keyPadding, List<NativeEncoderLayer> layers)
    {
        if (!IsWatched && !Recomputes)
        {
            return null;
        }

        using var scope = NewDisposeScope();
        var settings = _search.Agree(native, _parameters.Module.training, s => Run(s, observe: false));
        return Run(settings, IsWatched).MoveToOuterDisposeScope();

        Tensor Run(NativeSettings settings, bool observe) =>
            layers.Aggregate(source, (x, layer) => layer.Forward(settings, x, mask, keyPadding, observe));
    }
}
