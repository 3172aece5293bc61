using Influence.Numerics;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The hooks on a model's layers, and the passes that they watch. The parameters are frozen from the beginning; what watches decides
/// nothing. Disposing it takes the hooks off.
/// </summary>
internal sealed class LayerHooks : IDisposable
{
    private readonly List<TrackedLayer> _layers = [];
    private readonly List<NativeModule> _natives = [];
    private readonly Dictionary<object, string> _beyondRule = new(ReferenceEqualityComparer.Instance);

    private LayerHooks(InfluenceTask task, Func<nn.Module, string?> beyondRule, bool takesHalf)
    {
        Task = task;
        Trainable = ModelParameter.Find(task.Model);
        Selected = [.. Trainable.Where(Includes(task.Layers))];
        if (Trainable.Count > 0 && Selected.Count == 0)
        {
            throw new InfluenceException(
                "Layers selects none of the model's trainable parameters. Their names: "
                    + $"{InfluenceException.List([.. Trainable.Select(p => p.Name)])}."
            );
        }

        ModelChecks.Run(task.Model, Selected);
        ModelChecks.CheckInference(Selected);
        ModelDtype = Selected[0].Value.dtype;
        Dtype = takesHalf ? HalfPrecision.Wide(ModelDtype) : ModelDtype;
        Device = Selected[0].Value.device;
        if (Dtype is not (ScalarType.Float32 or ScalarType.Float64))
        {
            throw new InfluenceException(
                $"The model's parameters are {Dtype}; gradients are compared in float32 or float64. Write model.to(torch.float32) first, "
                    + "or choose by InfluenceTask.Layers the part that is float32."
                    + (takesHalf ? string.Empty : " Scores of a finished model are taken in half precision too, a training loop is not.")
            );
        }

        Losses = new LossEvaluator(task, Dtype, Device);
        try
        {
            foreach (var group in Selected.GroupBy(p => p.Owner, ReferenceEqualityComparer.Instance))
            {
                Hook((nn.Module)group.Key!, [.. group], beyondRule);
            }

            Freeze();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public InfluenceTask Task { get; }

    /// <summary>Parameters for which this differs never share a block; null: all may.</summary>
    public Func<ModelParameter, object>? Apart { get; init; }

    public LossEvaluator Losses { get; }

    /// <summary>What gradients are kept and multiplied in: the model's type, and float32 where that is half as wide.</summary>
    public ScalarType Dtype { get; }

    /// <summary>The type of the selected parameters, in which the model runs.</summary>
    public ScalarType ModelDtype { get; }

    public Device Device { get; }

    /// <summary>Every trainable parameter; a tied one by each of its names.</summary>
    public IReadOnlyList<ModelParameter> Trainable { get; }

    /// <summary>Those that <see cref="InfluenceTask.Layers"/> includes.</summary>
    public IReadOnlyList<ModelParameter> Selected { get; }

    /// <summary>The watched layers.</summary>
    public IReadOnlyList<TrackedLayer> Layers => _layers;

    /// <summary>Why a module's parameters have no rule, where a reason is known.</summary>
    public IReadOnlyDictionary<object, string> BeyondRule => _beyondRule;

    /// <summary>Hooks every layer with a rule; native attention is recomputed where that can be.</summary>
    public static LayerHooks ForScores(InfluenceTask task, Func<ModelParameter, object>? apart = null) =>
        new(task, _ => null, takesHalf: true) { Apart = apart };

    /// <summary>Hooks every layer with a rule but native attention.</summary>
    public static LayerHooks ForTraining(InfluenceTask task) =>
        new(
            task,
            module =>
                module is MultiheadAttention or TransformerEncoderLayer or TransformerEncoder
                    ? "native attention runs as it is in a training loop: its dropout cannot be recomputed"
                    : null,
            takesHalf: false
        );

    /// <summary>Whether a selection can have a parameter, by what is known without running the model.</summary>
    public Func<ModelParameter, bool> Includes(LayerSelection selection)
    {
        if (selection.Role != LayerRole.NotEmbeddings)
        {
            return p => selection.Includes(p.Name);
        }

        // A weight that is tied to a table is the table.
        var tables = Trainable.Where(LayerRoles.IsEmbedding).Select(p => p.Storage).ToHashSet();
        return p => !tables.Contains(p.Storage);
    }

    /// <summary>The layers that a parameter's gradient comes from: several where projections are packed into one.</summary>
    public IEnumerable<TrackedLayer> LayersOf(ModelParameter parameter) => _layers.Where(layer => layer.Holds(parameter));

    /// <summary>Takes the hooks off all other layers.</summary>
    public void KeepOnly(IReadOnlyList<TrackedLayer> layers)
    {
        foreach (var layer in _layers.Except(layers).ToList())
        {
            layer.Unhook();
            _layers.Remove(layer);
        }
    }

    public void Freeze() => ParameterGate.Set(Trainable.Select(p => (Tensor)p.Value), false);

    public void Thaw() => ParameterGate.Set(Trainable.Select(p => (Tensor)p.Value), true);

    /// <summary>
    /// One forward pass, and one backward pass to the layers' outputs and to other leaves; null where something wrote in place to what
    /// the layers saw and share with the model: then they are to copy it. Everything lives in the scope, which is the current one.
    /// </summary>
    /// <param name="scope">The current scope.</param>
    /// <param name="plan">Which layers note what.</param>
    /// <param name="batch">The examples.</param>
    /// <param name="kind">Which delegate.</param>
    /// <param name="leaves">What to differentiate by beside; it takes part in autograd.</param>
    /// <param name="graph">What becomes of the graph.</param>
    public CaptureTrace? Run(
        DisposeScope scope,
        CapturePlan plan,
        ExampleBatch batch,
        LossKind kind,
        IReadOnlyList<Tensor> leaves,
        GraphAfter graph
    )
    {
        using var grad = enable_grad();
        using var gate = new ParameterGate(plan.ByRule);
        var writes = plan.Mode == TapMode.Share && !Task.WithoutChecks ? new WriteProbe() : null;
        Tensor losses;
        try
        {
            using var forward = Spans.Of("capture forward", examples: batch.Count);
            losses = Watched(plan.Layers, new LayerWatch(scope, batch.Count, plan.Mode, kind) { Gate = gate, Writes = writes }, batch);
        }
        catch (InfluenceException exception) when (writes is not null && WriteProbe.IsWriteToLeaf(exception))
        {
            return null;
        }

        using (Spans.Of("check: writes in place"))
        {
            if (writes is not null && writes.WasWrittenTo())
            {
                return null;
            }
        }

        List<TrackedLayer> order = [.. plan.Layers.Where(layer => layer.Calls > 0)];
        Tensor[] taps = [.. order.SelectMany(layer => layer.Taps)];
        Tensor[] inputs = [.. taps, .. leaves, .. gate.Values];
        var found = Backward(losses, inputs, graph, batch);
        using var past = Spans.Of("check: uses past the layers");
        return new CaptureTrace(
            order,
            losses,
            found[..taps.Length],
            [.. found.AsSpan(taps.Length, leaves.Count).ToArray().Select(g => g.Strided())],
            [
                .. gate.UsedElsewhere(found.AsSpan(taps.Length + leaves.Count))
                    .Concat(
                        order
                            .Where(layer => layer.WasChanged)
                            .SelectMany(layer => layer.Parts)
                            .Select(part => part.Parameter)
                            .Where(plan.ByRule.Contains)
                    )
                    .Distinct(),
            ]
        );
    }

    private static Tensor?[] Backward(Tensor losses, Tensor[] inputs, GraphAfter graph, ExampleBatch batch)
    {
        using var span = Spans.Of("capture backward", examples: batch.Count);
        if (!losses.requires_grad || inputs.Length == 0)
        {
            return new Tensor?[inputs.Length];
        }

        var found = GuardedBackward.Gradients([losses.sum()], inputs, graph, ids: batch.Ids);
        foreach (var gradient in found)
        {
            Spans.Made(gradient);
        }

        return found;
    }

    /// <summary>The layers in the order of their calls; afterwards they know the shapes that they saw.</summary>
    public List<TrackedLayer> WatchShapes(ExampleBatch batch, LossKind kind)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var order = new List<TrackedLayer>();
        _layers.ForEach(layer => layer.Called = order.Add);
        Watched(_layers, new LayerWatch(scope, batch.Count, TapMode.Shapes, kind), batch);
        return order;
    }

    /// <summary>
    /// The bytes that a pass over a batch keeps for its backward pass, and those of the gradients that come back: of every tensor that is
    /// there when the loss is known (what the layers saw, and what the model's own code made and did not dispose), and of each layer's
    /// outputs once more. What libtorch keeps inside its operators is not seen. In half precision what is multiplied is kept twice as wide
    /// beside.
    /// </summary>
    public long KeptBytes(ExampleBatch batch, LossKind kind)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var losses = Watched(_layers, new LayerWatch(scope, batch.Count, TapMode.Sizes, kind), batch);
        var outputs =
            _layers.SelectMany(layer => layer.Shapes).Sum(shape => shape.Aggregate(1.0, (n, d) => n * d)) * ModelDtype.ElementSize();
        var others = Task.Model.parameters().Concat(Task.Model.buffers()).Concat(batch.Tensors);
        var bytes = BytesInUse.Of(scope.DisposablesView.OfType<Tensor>(), others) + outputs;
        return (long)Math.Min(long.MaxValue / 4, HalfPrecision.IsHalf(ModelDtype) ? 2 * bytes : bytes);
    }

    /// <summary>The losses, and whether anything writes to what the layers saw.</summary>
    public bool WritesInPlace(ExampleBatch batch, LossKind kind, out double[] losses)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        losses = Values(Watched(_layers, new LayerWatch(scope, batch.Count, TapMode.Compare, kind), batch));
        return _layers.Any(layer => layer.WasWrittenTo());
    }

    /// <summary>The losses of a pass that nobody watches.</summary>
    public double[] LossValues(ExampleBatch batch, LossKind kind)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        return Values(Losses.Evaluate(batch, kind));
    }

    /// <summary>
    /// Until the result is disposed, native attention modules with selected parameters are recomputed from the parameters
    /// themselves also outside a capture, so that gradients of gradients exist whatever kernels the native side uses.
    /// </summary>
    public IDisposable WithManagedAttention()
    {
        // Back to this mode also after a forward pass that failed.
        var mode = set_grad_enabled(is_grad_enabled());
        _natives.ForEach(native => native.Recomputes = true);
        return new Restore(() =>
        {
            _natives.ForEach(native => native.Recomputes = false);
            mode.Dispose();
        });
    }

    public void Dispose()
    {
        _layers.ForEach(layer => layer.Unhook());
        _natives.ForEach(native => native.Unhook());
    }

    /// <summary>Losses as numbers.</summary>
    public static double[] Values(Tensor losses) => losses.detach().cpu().to_type(ScalarType.Float64).data<double>().ToArray();

    private Tensor Watched(IReadOnlyList<TrackedLayer> layers, LayerWatch watch, ExampleBatch batch)
    {
        foreach (var layer in layers)
        {
            layer.Begin(watch);
        }

        _natives.ForEach(native => native.IsWatched = native.Layers.Any(layers.Contains));
        try
        {
            return Losses.Evaluate(batch, watch.Kind);
        }
        finally
        {
            foreach (var layer in layers)
            {
                layer.End();
            }

            _natives.ForEach(native => native.IsWatched = false);
        }
    }

    private void Hook(nn.Module module, List<ModelParameter> own, Func<nn.Module, string?> beyondRule)
    {
        // Several numbers of heads would agree with so few digits.
        var reason =
            beyondRule(module)
            ?? (
                HalfPrecision.IsHalf(ModelDtype) && (module is MultiheadAttention or TransformerEncoderLayer or TransformerEncoder)
                    ? $"native attention is not recomputed in {ModelDtype}"
                    : null
            );
        if (reason is not null)
        {
            _beyondRule.Add(module, reason);
        }
        else if (NativeModule.For(module, own, Task.Attention, out reason) is { } native)
        {
            _natives.Add(native);
            _layers.AddRange(native.Layers);
        }
        else if (reason is null && LayerRule.For(module, out reason) is { } rule)
        {
            var (weight, bias) = (Part("weight"), Part("bias"));
            (ParameterPart?, ParameterPart?)[] uses =
                rule.BiasApart && weight is not null && bias is not null ? [(weight, null), (null, bias)] : [(weight, bias)];
            var hasHooks = ForeignHooks.On(module);
            foreach (var (ofWeight, ofBias) in uses)
            {
                var layer = new TrackedLayer(own[0].Path, rule, ofWeight, ofBias) { HasForeignHooks = hasHooks };
                layer.Hook(module);
                _layers.Add(layer);
            }
        }
        else
        {
            _beyondRule.Add(module, reason ?? $"no rule for {ModelParameter.KindOf(module)}");
        }

        ParameterPart? Part(string name) => own.FirstOrDefault(p => p.LocalName == name) is { } found ? ParameterPart.Whole(found) : null;
    }

    private sealed class Restore(Action restore) : IDisposable
    {
        public void Dispose() => restore();
    }
}
