using System.Diagnostics;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Per-example gradients of a task's model, batch by batch. Opening a session hooks the layers and freezes the parameters;
/// disposing it leaves the model as it was found, whatever happened between.
/// </summary>
internal sealed partial class GradientSession : IDisposable
{
    private readonly List<ModelParameter> _trainable;
    private readonly List<ModelParameter> _selected;
    private readonly List<TrackedLayer> _layers = [];
    private readonly List<NativeModule> _natives = [];
    private readonly Dictionary<object, string> _beyondRule = new(ReferenceEqualityComparer.Instance);
    private List<ParameterBlock> _blocks = [];
    private SingleExampleGradients _single;
    private Func<ModelParameter, object> _apart = _ => 0;
    private TapMode _mode = TapMode.Share;
    private bool _auditing;

    private GradientSession(InfluenceTask task)
    {
        Task = task;
        _trainable = ModelParameter.Find(task.Model);
        ModelChecks.Run(task.Model, _trainable);
        Dtype = _trainable[0].Value.dtype;
        Device = _trainable[0].Value.device;
        Losses = new LossEvaluator(task, Dtype, Device);
        _selected = [.. _trainable.Where(p => task.Layers.Includes(p.Name))];
        if (_selected.Count == 0)
        {
            throw new InfluenceException(
                $"Layers selects none of the model's trainable parameters. Their names: {InfluenceException.List([.. _trainable.Select(p => p.Name)])}.");
        }

        _single = new SingleExampleGradients([], Losses);
        Coverage = new ParameterCoverage([]);
    }

    private void Hook(bool natives = true)
    {
        foreach (var group in _selected.GroupBy(p => p.Owner, ReferenceEqualityComparer.Instance))
        {
            var module = (nn.Module)group.Key!;
            string? reason = null;
            if (!natives && module is MultiheadAttention or TransformerEncoderLayer or TransformerEncoder)
            {
                _beyondRule.Add(module, "native attention runs as it is in a training loop: its dropout cannot be recomputed");
            }
            else if (NativeModule.For(module, [.. group], Task.Attention, out reason) is { } native)
            {
                _natives.Add(native);
                _layers.AddRange(native.Layers);
            }
            else if (reason is null && LayerRule.For(module, out reason) is { } rule)
            {
                var layer = new TrackedLayer(group.First().Path, rule, Part("weight"), Part("bias"));
                layer.Hook(module);
                _layers.Add(layer);

                ParameterPart? Part(string name) => group.FirstOrDefault(p => p.LocalName == name) is { } found ? ParameterPart.Whole(found) : null;
            }
            else
            {
                _beyondRule.Add(module, reason ?? $"no rule for {module.GetName()}");
            }
        }
    }

    public InfluenceTask Task { get; }

    public LossEvaluator Losses { get; }

    public ScalarType Dtype { get; }

    public Device Device { get; }

    public ParameterCoverage Coverage { get; private set; }

    /// <summary>Whether positions that the loss does not depend on are found and masked, for means over positions; products do not need it.</summary>
    public bool FindsReachedPositions { get; set; }

    public IReadOnlyList<ParameterBlock> Blocks => _blocks;

    /// <summary>
    /// What the written-out parts of every entry of <see cref="BatchGradients.Blocks"/> are parts of, in order: the blocks of
    /// the rules, then the parameters that are taken by single examples.
    /// </summary>
    public IReadOnlyList<IReadOnlyList<ParameterPart>> Parts =>
    [
        .. _blocks.Select(block => block.Parts),
        .. _single.Blocks.Select(IReadOnlyList<ParameterPart> (block) => [.. block.Select(ParameterPart.Whole)]),
    ];

    /// <summary>A name for every entry of <see cref="BatchGradients.Blocks"/>.</summary>
    public IReadOnlyList<string> BlockNames => [.. Parts.Select(parts => string.Join(", ", parts.Select(p => p.Name)))];

    /// <summary>
    /// What a fit belongs to: a hash of all the model's weights and buffers, the frozen ones too, since gradients depend on them; and one of the
    /// names of the parameters that take part.
    /// </summary>
    public string WeightsFingerprint() => $"{WeightsHash.OfAll(Task.Model)}-{WeightsHash.OfNames(Taking.Select(p => p.Name))}";

    /// <summary>The fingerprint of earlier versions: the parameters that take part, names and values.</summary>
    public string EarlierFingerprint() => WeightsHash.Of(Taking);

    private IEnumerable<ModelParameter> Taking => Parts.SelectMany(parts => parts).Select(p => p.Parameter).Distinct();

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

    /// <summary>Opens a session and audits it on the first examples, so that everything that can fail fails here.</summary>
    /// <param name="task">The model and its loss.</param>
    /// <param name="train">Training examples.</param>
    /// <param name="queries">Queries, where there are any.</param>
    /// <param name="apart">Parameters for which this differs never share a block, so that each block has one learning rate, say; null: all may.</param>
    public static GradientSession Open(InfluenceTask task, Examples train, Examples? queries, Func<ModelParameter, object>? apart = null)
    {
        var session = new GradientSession(task);
        session._apart = apart ?? session._apart;
        try
        {
            session.Hook();
            session.Freeze();
            session.Audit(train, queries);
            return session;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    /// <summary>The per-example gradients of a batch. The caller disposes the result before it captures the next batch.</summary>
    public BatchGradients Capture(ExampleBatch batch, LossKind kind)
    {
        var scope = NewDisposeScope();
        try
        {
            var result = new BatchGradients(scope, batch.Ids, Dtype, Device);
            var blocks = new List<BlockGradients?>(_blocks.Count + _single.Blocks.Count);
            blocks.AddRange(CaptureLayers(scope, batch, kind));
            blocks.AddRange(_single.Capture(batch, kind));
            result.Blocks = blocks;
            return result;
        }
        catch
        {
            scope.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        _layers.ForEach(layer => layer.Unhook());
        _natives.ForEach(native => native.Unhook());
        if (_isTraining)
        {
            // Thawed after every pass; what was frozen since is the caller's doing.
            return;
        }

        foreach (var parameter in _trainable)
        {
            parameter.Value.requires_grad = true;
        }
    }

    private List<BlockGradients?> CaptureLayers(DisposeScope scope, ExampleBatch batch, LossKind kind)
    {
        using var grad = enable_grad();
        var order = Watch(scope, batch, _mode, kind, out var losses);
        if (order.Count > 0 && !losses.requires_grad)
        {
            throw new InfluenceException(
                "The loss does not depend on any tracked layer's output. Does the loss delegate detach the model's output, or run under no_grad()?");
        }

        var taps = order.SelectMany(layer => layer.Taps).ToList();
        var gradients = taps.Count == 0
            ? []
            : autograd.grad([losses.sum()], taps, allow_unused: true).ToArray();
        using var noGrad = no_grad();
        var mask = Mask(batch);
        if (mask is not null && !order.Any(layer => layer.HasPositions(mask.shape[1])))
        {
            throw new InfluenceException(
                $"PositionMask has {mask.shape[1]} positions, but no tracked layer's output has so many; it returns [B, T] with the T that the layers see.");
        }

        var calls = _layers.ToDictionary(layer => layer, _ => new List<LayerCall>());
        var next = 0;
        foreach (var layer in order)
        {
            calls[layer] = layer.CallsWith(gradients.AsSpan(next, layer.Calls), mask);
            next += layer.Calls;
            if (!_auditing)
            {
                CheckRows(layer, calls[layer], batch);
            }
        }

        GC.KeepAlive(taps);
        if (FindsReachedPositions)
        {
            ReachedPositions.Mark(calls);
        }

        return [.. _blocks.Select(block => block.Gradients(calls))];
    }

    private static void CheckRows(TrackedLayer layer, List<LayerCall> calls, ExampleBatch batch)
    {
        if (calls.FirstOrDefault(call => call.OutputGradient.shape[0] != batch.Count * call.RowsPerExample) is { } odd)
        {
            throw new InfluenceException(
                $"{layer.Path} ({layer.Rule.Name}) saw {odd.OutputGradient.shape[0]} rows for a batch of {batch.Count} examples, though it saw " +
                $"{odd.RowsPerExample} for each of the first two. A layer that is given some of the examples only cannot be told apart by example; " +
                "leave it out: Layers = LayerSelection.Where(...).");
        }
    }

    private Tensor? Mask(ExampleBatch batch)
    {
        // The audit compares with plain autograd, which knows no mask.
        if (_auditing || Task.PositionMask is not { } positions)
        {
            return null;
        }

        var mask = positions(batch);
        return mask.dim() == 2 && mask.shape[0] == batch.Count
            ? mask
            : throw new InfluenceException(
                $"PositionMask returns [B, T] with B = {batch.Count}; found [{string.Join(", ", mask.shape)}].");
    }

    /// <summary>Evaluates with the hooks on; returns the layers that saw something, in a fixed order.</summary>
    private List<TrackedLayer> Watch(DisposeScope scope, ExampleBatch batch, TapMode mode, LossKind kind, out Tensor losses)
    {
        _layers.ForEach(layer => layer.Begin(scope, batch.Count, mode, kind));
        _natives.ForEach(native => native.IsWatched = native.Layers.Any(_layers.Contains));
        try
        {
            losses = Losses.Evaluate(batch, kind);
        }
        finally
        {
            _layers.ForEach(layer => layer.End());
            _natives.ForEach(native => native.IsWatched = false);
        }

        return [.. _layers.Where(layer => layer.Calls > 0)];
    }

    private void Freeze()
    {
        foreach (var parameter in _trainable)
        {
            parameter.Value.requires_grad = false;
        }
    }

    private void Audit(Examples train, Examples? queries)
    {
        var watch = Stopwatch.StartNew();
        foreach (var batch in train.Batches().Take(1))
        {
            if (queries is null)
            {
                Audit(batch, null);
            }
            else
            {
                foreach (var query in queries.Batches().Take(1))
                {
                    Audit(batch, query);
                }
            }
        }

        CheckMask(train);
        LogCoverage(watch);
        foreach (var parameter in Coverage.Parameters.Where(p => p.Method == ParameterCoverage.SingleExamples))
        {
            Log.SingleExamples(Task.Logger, parameter.Name, parameter.Count, parameter.Note);
        }
    }

    private void Audit(ExampleBatch batch, ExampleBatch? query)
    {
        using var scope = NewDisposeScope();
        _auditing = true;
        new CaptureAudit(this).Run(batch, query);
        _auditing = false;
    }

    private void LogCoverage(Stopwatch watch) =>
        Log.AuditDone(Task.Logger, Coverage.ByRule, Coverage.BySingleExamples, Coverage.NotIncluded, watch.Elapsed.TotalMilliseconds);

    /// <summary>A mask that cannot be laid on everything would give scores that are masked in part.</summary>
    private void CheckMask(Examples train)
    {
        if (Task.PositionMask is null)
        {
            return;
        }

        var unmasked = _blocks.SelectMany(block => block.Uses).Where(use => !use.Layer.Rule.PositionsLead)
            .Select(use => $"{use.Layer.Path} ({use.Layer.Rule.Name})")
            .Concat(_single.Parameters.Select(p => p.Name))
            .Distinct()
            .ToList();
        if (unmasked.Count > 0)
        {
            throw new InfluenceException(
                $"PositionMask cannot be laid on these: {InfluenceException.List(unmasked)}. Mask inside the model or the loss instead, or leave them out by Layers.");
        }

        foreach (var batch in train.Batches().Take(1))
        {
            using var scope = NewDisposeScope();
            Capture(batch.Pick([0]), LossKind.Training).Dispose();
        }
    }

    /// <summary>The audit's view of the session: what it may run, and what it decides.</summary>
    internal IReadOnlyList<ModelParameter> Selected => _selected;

    internal IReadOnlyList<ModelParameter> Trainable => _trainable;

    internal IReadOnlyList<TrackedLayer> Layers => _layers;

    /// <summary>The layers that a parameter's gradient comes from: several where projections are packed into one.</summary>
    internal IEnumerable<TrackedLayer> LayersOf(ModelParameter parameter) => _layers.Where(layer => layer.Holds(parameter));

    internal IReadOnlyDictionary<object, string> BeyondRule => _beyondRule;

    internal List<TrackedLayer> WatchShapes(ExampleBatch batch, LossKind kind)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var order = new List<TrackedLayer>();
        _layers.ForEach(layer => layer.Called = order.Add);

        Watch(scope, batch, TapMode.Shapes, kind, out _);
        return order;
    }

    /// <summary>The losses, and whether anything writes to what the tracked layers saw.</summary>
    internal bool WritesInPlace(ExampleBatch batch, LossKind kind, out double[] losses)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        Watch(scope, batch, TapMode.Compare, kind, out var values);
        losses = values.cpu().to_type(ScalarType.Float64).data<double>().ToArray();
        return _layers.Any(layer => layer.WasWrittenTo());
    }

    internal double[] LossValues(ExampleBatch batch, LossKind kind)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        return Losses.Evaluate(batch, kind).cpu().to_type(ScalarType.Float64).data<double>().ToArray();
    }

    /// <summary>Takes the audit's decisions.</summary>
    internal void Configure(TapMode mode, IReadOnlyList<ModelParameter> byRule, IReadOnlyList<ModelParameter> bySingleExample, ParameterCoverage coverage)
    {
        _mode = mode;
        foreach (var layer in _layers.Where(layer => !byRule.Any(layer.Holds)).ToList())
        {
            layer.Unhook();
            _layers.Remove(layer);
        }

        _blocks = ParameterBlock.Group(byRule, _layers, _apart);
        _single = new SingleExampleGradients(bySingleExample, Losses, _apart);
        Coverage = coverage;
    }
    private sealed class Restore(Action restore) : IDisposable
    {
        public void Dispose() => restore();
    }
}
