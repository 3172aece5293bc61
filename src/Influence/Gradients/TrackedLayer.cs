using Influence.Numerics;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>How much a tap protects itself from code that writes to tensors in place.</summary>
internal enum TapMode
{
    /// <summary>Only the shapes are noted.</summary>
    Shapes,

    /// <summary>Shapes are noted and inputs and outputs kept, to count what they take.</summary>
    Sizes,

    /// <summary>Inputs and outputs are kept beside copies of them, to see whether somebody writes to them.</summary>
    Compare,

    /// <summary>Inputs and outputs are kept as they are: free.</summary>
    Share,

    /// <summary>Inputs and outputs are copied: right also behind an in-place activation.</summary>
    Copy,
}

/// <summary>
/// One layer with a rule and what it saw: a module, by its forward hook, or a projection within a native module that is
/// recomputed. With frozen parameters the first layer's output needs no gradient, so the layer gives it one; the backward
/// pass then computes gradients of layer outputs and nothing else.
/// </summary>
/// <param name="path">The module's path, for messages.</param>
/// <param name="rule">How its gradients are formed.</param>
/// <param name="weight">The weight, where it takes part.</param>
/// <param name="bias">The bias, where it takes part.</param>
internal sealed class TrackedLayer(string path, LayerRule rule, ParameterPart? weight, ParameterPart? bias)
{
    private readonly List<(Tensor Input, Tensor Tap, LayerLayout Layout, bool Training)> _seen = [];
    private readonly List<long[]> _shapes = [];
    private readonly List<(Tensor Kept, Tensor Copy)> _compared = [];
    private readonly List<Action> _unhook = [];
    private nn.Module? _module;
    private LayerWatch? _watch;
    private Tensor[] _gated = [];

    public string Path => path;

    /// <summary>Whether hooks of the user's own were on the module first.</summary>
    public bool HasForeignHooks { get; init; }

    /// <summary>Whether one of them changed an output in this pass, so that what the layer saw is not its own.</summary>
    public bool WasChanged { get; private set; }

    public LayerRule Rule => rule;

    public ParameterPart? Weight => weight;

    public ParameterPart? Bias => bias;

    /// <summary>What the layer gives the gradient of, weight first.</summary>
    public IEnumerable<ParameterPart> Parts => new[] { weight, bias }.OfType<ParameterPart>();

    /// <summary>I: the elements of the weight for each output; 1 where the weight takes no part.</summary>
    public long Inputs
    {
        get
        {
            if (weight is null)
            {
                return 1;
            }

            using var value = weight.Parameter.Value.detach();
            return value.numel() / Math.Max(1, value.shape[0]);
        }
    }

    /// <summary>Where the examples lie, call by call, under each of the task's delegates; unknown until the audit.</summary>
    public Dictionary<LossKind, IReadOnlyList<LayerLayout>> Layouts { get; } = [];

    /// <summary>Outputs without an example axis.</summary>
    public List<long[]> SharedShapes { get; } = [];

    /// <summary>Whether any call of the layer serves the whole batch.</summary>
    public bool IsShared => SharedShapes.Count > 0;

    /// <summary>Called once for each call of the layer, in the order of the forward pass.</summary>
    public Action<TrackedLayer>? Called { get; set; }

    public IReadOnlyList<long[]> Shapes => _shapes;

    /// <summary>The outputs to differentiate.</summary>
    public IEnumerable<Tensor> Taps => _seen.Select(s => s.Tap);

    public int Calls => _seen.Count;

    /// <summary>From now on the layer notes what it sees; other labels change no shape, so that the layout under the training loss serves
    /// sampled ones.</summary>
    public void Begin(LayerWatch watch)
    {
        _watch = watch with { Kind = watch.Kind == LossKind.Sampled ? LossKind.Training : watch.Kind };
        _gated = watch.Gate?.Of(this) ?? [];
        _seen.Clear();
        _shapes.Clear();
        _compared.Clear();
        WasChanged = false;
    }

    /// <summary>After <see cref="TapMode.Compare"/>: whether an input or output no longer is what the layer saw.</summary>
    public bool WasWrittenTo() => _compared.Any(pair => !pair.Kept.eq(pair.Copy).all().item<bool>());

    public void End()
    {
        _watch = null;
        _gated = [];
    }

    /// <summary>Before the layer runs: its own use of its parameters is what the rule knows, and computes no weight gradient.</summary>
    public void Enter() => ParameterGate.Set(_gated, false);

    /// <summary>After the layer ran: any other use of its parameters shows.</summary>
    public void Leave() => ParameterGate.Set(_gated, true);

    public bool Holds(ModelParameter parameter) => weight?.Parameter == parameter || bias?.Parameter == parameter;

    /// <summary>Watches a module from now on.</summary>
    public void Hook(nn.Module module)
    {
        // A null result leaves inputs and the layer's output as they are; TorchSharp's delegate types do not say so.
        _module = module;
        switch (module)
        {
            case Bilinear bilinear:
                _unhook.Add(
                    bilinear
                        .register_forward_pre_hook(
                            (_, _, _) =>
                            {
                                Enter();
                                return null;
                            }
                        )
                        .remove
                );
                _unhook.Add(
                    bilinear
                        .register_forward_hook(
                            (_, first, second, output) =>
                            {
                                Leave();
                                return (_watch is null ? null : Observe(Pairs(first.detach(), second.detach()), output))!;
                            }
                        )
                        .remove
                );
                break;
            case EmbeddingBag bag:
                // Bags of other forms are no use that the rule knows: the table then shows as used elsewhere.
                _unhook.Add(
                    bag.register_forward_pre_hook(
                        (_, tokens, offsets, weights) =>
                        {
                            if (EmbeddingBagRule.Covers(tokens, offsets, weights))
                            {
                                Enter();
                            }

                            return null;
                        }
                    ).remove
                );
                _unhook.Add(
                    bag.register_forward_hook(
                        (_, tokens, offsets, weights, output) =>
                            (EmbeddingBagRule.Covers(tokens, offsets, weights) ? AfterCall(tokens, output) : null)!
                    ).remove
                );
                break;
            default:
                var layer = (nn.Module<Tensor, Tensor>)module;
                _unhook.Add(layer.register_forward_pre_hook((_, _) => BeforeCall()!).remove);
                _unhook.Add(layer.register_forward_hook((_, input, output) => AfterCall(input, output)!).remove);
                break;
        }

        // Every product of an input of one side and one of the other, [..., I1*I2].
        static Tensor Pairs(Tensor first, Tensor second) => (first.unsqueeze(-1) * second.unsqueeze(-2)).flatten(-2, -1);
    }

    public void Unhook() => _unhook.ForEach(remove => remove());

    /// <summary>The calls with the gradients of their outputs; calls that the loss does not depend on are left out.</summary>
    /// <param name="gradients">One per call, in order.</param>
    /// <param name="mask">Optional <c>[B, T]</c>: positions that do not count are cleared.</param>
    /// <param name="keepTaps">Whether the outputs are kept with the calls.</param>
    public List<LayerCall> CallsWith(ReadOnlySpan<Tensor?> gradients, Tensor? mask, bool keepTaps = false)
    {
        var calls = new List<LayerCall>();
        for (var i = 0; i < _seen.Count; i++)
        {
            if (gradients[i] is not { } received)
            {
                continue;
            }

            var (input, tap, layout, training) = _seen[i];
            var gradient = HalfPrecision.Wide(layout.ExamplesFirst(received));
            var masked = mask is not null && HasPositions(gradient, layout, mask.shape[1]);
            if (masked)
            {
                var shape = gradient.shape;
                gradient = (gradient.reshape(mask!.shape[0], mask.shape[1], -1) * mask.unsqueeze(-1).to_type(gradient.dtype)).reshape(
                    shape
                );
            }

            calls.Add(
                new LayerCall(HalfPrecision.Wide(layout.ExamplesFirst(input)), gradient, layout.RowsPerExample, masked ? mask : null)
                {
                    IsTraining = training,
                    Tap = keepTaps ? (tap, layout) : null,
                }
            );
        }

        return calls;
    }

    /// <summary>Whether any call went over so many positions, so that a mask of that length means something here.</summary>
    public bool HasPositions(long positions) => _seen.Any(s => HasPositions(s.Layout.ExamplesFirst(s.Tap), s.Layout, positions));

    private bool HasPositions(Tensor output, LayerLayout layout, long positions) =>
        rule.PositionsLead
        && (
            layout.RowsPerExample == 1
                ? output.dim() == 3 && output.shape[1] == positions
                : output.dim() == 2 && layout.RowsPerExample == positions
        );

    /// <summary>
    /// Whether every row of every call belongs to the example that its place says: see <see cref="RowCheck"/>. Null without rows.
    /// </summary>
    /// <param name="once">The gradients of the calls' outputs.</param>
    /// <param name="weighted">Those of the weighted losses.</param>
    /// <param name="weights">w, <c>[B]</c>.</param>
    public Tensor? RowsFollow(ReadOnlySpan<Tensor?> once, ReadOnlySpan<Tensor?> weighted, Tensor weights)
    {
        Tensor? all = null;
        for (var i = 0; i < _seen.Count; i++)
        {
            if (once[i] is { } d && weighted[i] is { } w && d.numel() > 0)
            {
                var layout = _seen[i].Layout;
                var follows = RowCheck.Follows(layout.ExamplesFirst(d), layout.ExamplesFirst(w), weights);
                all = all is null ? follows : all.logical_and(follows);
            }
        }

        return all;
    }

    /// <summary>Whether every call that the losses depend on has as many rows as the batch's examples have by the layout.</summary>
    /// <param name="gradients">The gradients of the calls' outputs.</param>
    /// <param name="examples">B.</param>
    public bool HasRowsOf(ReadOnlySpan<Tensor?> gradients, long examples)
    {
        for (var i = 0; i < _seen.Count; i++)
        {
            var layout = _seen[i].Layout;
            if (gradients[i] is { } d && layout.ExamplesFirst(d).shape[0] != examples * layout.RowsPerExample)
            {
                return false;
            }
        }

        return true;
    }

    private Tensor? BeforeCall()
    {
        Enter();
        return null;
    }

    private Tensor? AfterCall(Tensor input, Tensor output)
    {
        // A norm over the batch would move its running statistics once more.
        if (
            HasForeignHooks
            && _watch is { Mode: TapMode.Share or TapMode.Copy }
            && _module is nn.Module<Tensor, Tensor> { training: false } layer
        )
        {
            WasChanged |= !ForeignHooks.LeftAlone(layer, input, output);
        }

        Leave();
        return Observe(input, output);
    }

    /// <summary>Notes one call of the layer; returns what takes the output's place, null where it stays.</summary>
    public Tensor? Observe(Tensor input, Tensor output)
    {
        if (_watch is not { } watch)
        {
            return null;
        }

        if (watch.Mode == TapMode.Shapes)
        {
            _shapes.Add(output.shape);
            Called?.Invoke(this);
            return null;
        }

        if (watch.Mode == TapMode.Sizes)
        {
            _shapes.Add(output.shape);
            watch.Owner.Attach(input.alias(), output.alias());
            return null;
        }

        if (watch.Mode == TapMode.Compare)
        {
            var pairs = ((input.detach(), input.detach().clone()), (output.detach(), output.detach().clone()));
            watch.Owner.Attach(pairs.Item1.Item1, pairs.Item1.Item2, pairs.Item2.Item1, pairs.Item2.Item2);
            _compared.AddRange([pairs.Item1, pairs.Item2]);
            return null;
        }

        if (!is_grad_enabled())
        {
            return null;
        }

        var layouts = Layouts.GetValueOrDefault(watch.Kind, []);
        var layout = layouts.Count == 0 ? LayerLayout.BatchFirst : layouts[Math.Min(_seen.Count, layouts.Count - 1)];
        var activation = input.detach();

        // With a gradient behind it, an output is shared still where only parameters without a rule feed the layer.
        var shared =
            layout.Axis == ExampleAxis.Shared
            && (
                !output.requires_grad
                || ((output.shape[0] != 1 || watch.Examples != 1) && SharedShapes.Any(s => output.shape.AsSpan().SequenceEqual(s)))
            );
        if (shared)
        {
            activation = LayerLayout.Expand(activation, watch.Examples);
        }
        else if (layout.Axis == ExampleAxis.Shared)
        {
            // A shared layer before this one was already given an example axis.
            layout = LayerLayout.BatchFirst;
        }

        // The tap is what the gradient is taken of.
        var replaced = shared || !output.requires_grad;
        var tap =
            shared && output.requires_grad ? LayerLayout.Expand(output, watch.Examples).clone()
            : shared ? LayerLayout.Expand(output.detach(), watch.Examples).clone().requires_grad_(true)
            : output.requires_grad ? output
            : output.detach().requires_grad_(true);

        // Kept handles go to the batch's scope: the model's own scopes, and Sequential, dispose what passes through them.
        // (Attach, not MoveToOtherDisposeScope: TorchSharp's loses a tensor that is in that scope already.)
        var kept = (watch.Mode == TapMode.Copy ? activation.clone() : activation, tap.alias(), layout, _module?.training ?? false);
        watch.Owner.Attach(kept.Item1, kept.Item2);
        _seen.Add(kept);
        Spans.Made(tap);
        if (watch.Writes is { } writes)
        {
            writes.Watch(kept.Item1, kept.Item2);
        }

        return watch.Mode == TapMode.Copy ? tap.clone()
            : replaced ? tap
            : null;
    }
}
