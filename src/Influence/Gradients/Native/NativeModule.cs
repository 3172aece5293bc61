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
    private readonly Func<NativeSettings, NativeInputs, bool, bool, (Tensor Output, Tensor? Weights)> _recompute;
    private readonly List<Action> _unhook = [];
    private IDisposable? _withoutGraph;

    private NativeModule(NativeParameters parameters, NativeAttention attention, InfluenceTask.Options? given)
    {
        _parameters = parameters;
        Attentions = [(string.Empty, attention)];
        _recompute = (settings, inputs, observe, watch) => attention.Forward(settings, inputs, observe, watch);
        _search = Search(NativeSettings.Candidates(attention.Width, isEncoder: false, given));
    }

    private NativeModule(NativeParameters parameters, IReadOnlyList<NativeEncoderLayer> layers, InfluenceTask.Options? given)
    {
        _parameters = parameters;
        Attentions = [.. layers.Select(layer => (layer.AttentionName, layer.Attention))];
        _recompute = (settings, inputs, observe, watch) =>
            (
                layers.Aggregate(
                    inputs.Query,
                    (x, layer) => layer.Forward(settings, new NativeInputs(x, x, x, inputs.KeyPadding, inputs.Mask), observe, watch)
                ),
                null
            );
        _search = Search(NativeSettings.Candidates(layers[0].Attention.Width, isEncoder: true, given));
    }

    /// <summary>The layers within, in the order of their calls.</summary>
    public IReadOnlyList<TrackedLayer> Layers => _parameters.Layers;

    /// <summary>The attention within, layer by layer, with its path in the module.</summary>
    public IReadOnlyList<(string Name, NativeAttention Attention)> Attentions { get; }

    /// <summary>A capture is on: the module is recomputed, and its layers note what they see.</summary>
    public bool IsWatched
    {
        get;
        set => SetAfterForward(out field, value);
    }

    /// <summary>The module is recomputed though nothing is captured, for gradients of gradients.</summary>
    public bool Recomputes
    {
        get;
        set => SetAfterForward(out field, value);
    }

    private bool IsOn => IsWatched || Recomputes;

    public void Unhook() => _unhook.ForEach(remove => remove());

    /// <summary>Hooks a native module; null where it is none, and with a reason where it cannot be recomputed.</summary>
    /// <param name="module">Any module.</param>
    /// <param name="selected">Its own parameters that take part.</param>
    /// <param name="given">What the user says of its settings.</param>
    /// <param name="reason">Why it cannot be recomputed.</param>
    public static NativeModule? For(
        nn.Module module,
        IReadOnlyList<ModelParameter> selected,
        InfluenceTask.Options? given,
        out string? reason
    )
    {
        reason = null;
        var parameters = new NativeParameters(module, selected);
        switch (module)
        {
            case MultiheadAttention:
                var attention = new NativeAttention(parameters, string.Empty);
                reason = attention.Problem;
                return reason is null ? new NativeModule(parameters, attention, given).Hook() : null;
            case TransformerEncoderLayer:
                return new NativeModule(parameters, [new NativeEncoderLayer(parameters, string.Empty)], given).Hook();
            case TransformerEncoder:
                var layers = new List<NativeEncoderLayer>();
                while (parameters.Find($"layers.{layers.Count}.linear1.weight") is not null)
                {
                    layers.Add(new NativeEncoderLayer(parameters, $"layers.{layers.Count}."));
                }

                return new NativeModule(parameters, layers, given).Hook();
            default:
                return null;
        }
    }

    // A null result leaves inputs and outputs as they are; TorchSharp's delegate types do not say so.
    private NativeModule Hook()
    {
        switch (_parameters.Module)
        {
            case MultiheadAttention attention:
                _unhook.Add(
                    attention
                        .register_forward_pre_hook(
                            (_, _, _, _, _, _, _) => WithoutGraph<(Tensor, Tensor, Tensor, Tensor?, bool, Tensor?)?>()
                        )
                        .remove
                );
                _unhook.Add(
                    attention
                        .register_forward_hook(
                            (_, query, key, value, keyPadding, _, mask, native) =>
                                Replace(native.Item1, native.Item2, new NativeInputs(query, key, value, keyPadding, mask))!
                        )
                        .remove
                );
                break;
            case TransformerEncoderLayer layer:
                _unhook.Add(layer.register_forward_pre_hook((_, _) => WithoutGraph<Tensor>()!).remove);
                _unhook.Add(
                    layer
                        .register_forward_hook((_, x, native) => Replace(native, null, new NativeInputs(x, x, x, null, null))?.Item1!)
                        .remove
                );
                break;
            case TransformerEncoder encoder:
                _unhook.Add(encoder.register_forward_pre_hook((_, _, _, _) => WithoutGraph<(Tensor, Tensor, Tensor)?>()).remove);
                _unhook.Add(
                    encoder
                        .register_forward_hook(
                            (_, x, mask, keyPadding, native) => Replace(native, null, new NativeInputs(x, x, x, keyPadding, mask))?.Item1!
                        )
                        .remove
                );
                break;
        }

        return this;
    }

    /// <summary>The native forward pass is not differentiated when its output is replaced: without a graph it keeps nothing.</summary>
    private T? WithoutGraph<T>()
    {
        if (IsOn)
        {
            BackToGraph();
            _withoutGraph = no_grad();
        }

        return default;
    }

    /// <summary>The forward pass may have failed within the module.</summary>
    private void SetAfterForward(out bool field, bool value)
    {
        BackToGraph();
        field = value;
    }

    private void BackToGraph()
    {
        _withoutGraph?.Dispose();
        _withoutGraph = null;
    }

    /// <summary>The recomputed output and weights; null where the module's own stay.</summary>
    private Tuple<Tensor, Tensor>? Replace(Tensor native, Tensor? weights, NativeInputs inputs)
    {
        if (!IsOn)
        {
            return null;
        }

        BackToGraph();
        using var scope = NewDisposeScope();
        foreach (var layer in Layers)
        {
            layer.Enter();
        }

        var settings = _search.Agree(native, inputs, _parameters.Module.training, (s, i) => _recompute(s, i, false, false).Output);
        var recomputed = _recompute(settings, inputs, IsWatched, true);
        foreach (var layer in Layers)
        {
            layer.Leave();
        }

        // Weights that were not asked for are an invalid tensor, and stay one.
        return Tuple.Create(
            recomputed.Output.MoveToOuterDisposeScope(),
            weights is { IsInvalid: false } ? recomputed.Weights!.MoveToOuterDisposeScope() : weights!
        );
    }

    private NativeSettingsSearch Search(IReadOnlyList<NativeSettings> candidates) =>
        new($"{(_parameters.Path.Length == 0 ? "the model" : _parameters.Path)} ({_parameters.Module.GetType().Name})", candidates);
}
