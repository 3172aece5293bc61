using System.Diagnostics;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Per-example gradients of a task's model, batch by batch. Opening a session hooks the layers and freezes the parameters;
/// disposing it leaves the model as it was found, whatever happened between.
/// </summary>
internal sealed class GradientSession : IDisposable
{
    private readonly List<ModelParameter> _trainable;
    private readonly List<ModelParameter> _selected;
    private readonly Dictionary<object, TrackedLayer> _layers = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<object, string> _beyondRule = new(ReferenceEqualityComparer.Instance);
    private List<ParameterBlock> _blocks = [];
    private SingleExampleGradients _single;
    private TapMode _mode = TapMode.Share;
    private bool _auditing;

    private GradientSession(InfluenceTask task)
    {
        Task = task;
        _trainable = ModelParameter.Find(task.Model);
        CheckModel();
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

    private void Hook()
    {
        foreach (var group in _selected.GroupBy(p => p.Owner, ReferenceEqualityComparer.Instance))
        {
            var module = (nn.Module)group.Key!;
            if (LayerRule.For(module, out var reason) is { } rule)
            {
                _layers.Add(module, new TrackedLayer(group.First().Path, module, rule));
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

    public IReadOnlyList<ParameterBlock> Blocks => _blocks;

    /// <summary>Opens a session and audits it on the first examples, so that everything that can fail fails here.</summary>
    public static GradientSession Open(InfluenceTask task, Examples train, Examples? queries)
    {
        var session = new GradientSession(task);
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
            var blocks = new List<BlockGradients?>(_blocks.Count + _single.Count);
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
        foreach (var layer in _layers.Values)
        {
            layer.Unhook();
        }

        foreach (var parameter in _trainable)
        {
            parameter.Value.requires_grad = true;
        }
    }

    private List<BlockGradients?> CaptureLayers(DisposeScope scope, ExampleBatch batch, LossKind kind)
    {
        using var grad = enable_grad();
        var order = Watch(scope, batch, _mode, () => Losses.Evaluate(batch, kind), out var losses);
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

        var calls = _layers.Values.ToDictionary(layer => layer, _ => new List<LayerCall>());
        var next = 0;
        foreach (var layer in order)
        {
            calls[layer] = layer.CallsWith(gradients.AsSpan(next, layer.Calls), mask);
            next += layer.Calls;
            if (calls[layer].FirstOrDefault(call => call.OutputGradient.shape[0] != batch.Count * call.RowsPerExample) is { } odd && !_auditing)
            {
                throw new InfluenceException(
                    $"{layer.Path} ({layer.Rule.Name}) saw {odd.OutputGradient.shape[0]} rows for a batch of {batch.Count} examples, though it saw " +
                    $"{odd.RowsPerExample} for each of the first two. A layer that is given some of the examples only cannot be told apart by example; " +
                    "leave it out: Layers = LayerSelection.Where(...).");
            }
        }

        GC.KeepAlive(taps);
        return [.. _blocks.Select(block => block.Gradients(calls))];
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
    private List<TrackedLayer> Watch(DisposeScope scope, ExampleBatch batch, TapMode mode, Func<Tensor> evaluate, out Tensor losses)
    {
        foreach (var layer in _layers.Values)
        {
            layer.Begin(scope, batch.Count, mode);
        }

        try
        {
            losses = evaluate();
        }
        finally
        {
            foreach (var layer in _layers.Values)
            {
                layer.End();
            }
        }

        return [.. _layers.Values.Where(layer => layer.Calls > 0)];
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
        foreach (var (examples, kind) in new[] { (queries, LossKind.Measurement), (train, LossKind.Training) })
        {
            if (examples is null)
            {
                continue;
            }

            foreach (var batch in examples.Batches().Take(1))
            {
                using var scope = NewDisposeScope();
                if (kind == LossKind.Measurement)
                {
                    // The training loss decides which rules hold; of the queries only the contract is checked.
                    using var noGrad = no_grad();
                    Losses.Evaluate(batch.Pick([.. Enumerable.Range(0, Math.Min(batch.Count, CaptureAudit.Candidates))]), kind);
                }
                else
                {
                    _auditing = true;
                    new CaptureAudit(this).Run(batch);
                    _auditing = false;
                    if (Task.PositionMask is not null)
                    {
                        Capture(batch.Pick([0]), kind).Dispose();
                    }
                }
            }
        }

        Log.AuditDone(Task.Logger, Coverage.ByRule, Coverage.BySingleExamples, Coverage.NotIncluded, watch.Elapsed.TotalMilliseconds);
        foreach (var parameter in Coverage.Parameters.Where(p => p.Method == ParameterCoverage.SingleExamples))
        {
            Log.SingleExamples(Task.Logger, parameter.Name, parameter.Count, parameter.Note);
        }
    }

    private void CheckModel()
    {
        if (_trainable.Count == 0)
        {
            throw new InfluenceException(
                "The model has no trainable parameter: none has requires_grad set. Write model.requires_grad_(true), or check that its layers are registered (RegisterComponents()).");
        }

        var mixing = ModelParameter.Modules(Task.Model)
            .Where(m => m.Module is BatchNorm { track_running_stats: false })
            .Select(m => $"{(m.Path.Length == 0 ? "the model" : m.Path)} ({m.Module.GetName()})")
            .ToList();
        if (mixing.Count > 0)
        {
            throw new InfluenceException(
                $"Without running statistics a BatchNorm mixes the examples of a batch in evaluation mode too: {InfluenceException.List(mixing)}. " +
                "Write track_running_stats: true, or use GroupNorm or LayerNorm.");
        }

        var random = ModelParameter.Modules(Task.Model)
            .Where(m => m.Module.training && MixesOrIsRandom(m.Module))
            .Select(m => $"{(m.Path.Length == 0 ? "the model" : m.Path)} ({m.Module.GetName()})")
            .ToList();
        if (random.Count > 0)
        {
            throw new InfluenceException(
                $"In training mode these modules are random or mix the examples of a batch: {InfluenceException.List(random)}. Write model.eval() first.");
        }

        var first = _trainable[0].Value;
        var odd = _trainable.Where(p => p.Value.dtype != first.dtype || p.Value.device_type != first.device_type || p.Value.device_index != first.device_index).ToList();
        if (odd.Count > 0)
        {
            throw new InfluenceException(
                $"The model's parameters differ in dtype or device: {_trainable[0].Name} is {first.dtype} on {first.device}, " +
                $"but {InfluenceException.List([.. odd.Select(p => $"{p.Name} {p.Value.dtype} on {p.Value.device}")])}. Write model.to(device) and model.to(dtype).");
        }
    }

    /// <summary>By type name: real TorchSharp has layers that the system binding does not offer.</summary>
    private static bool MixesOrIsRandom(nn.Module module)
    {
        var name = module.GetType().Name;
        return name.Contains("Dropout", StringComparison.Ordinal)
            || name.StartsWith("BatchNorm", StringComparison.Ordinal)
            || name is "TransformerEncoderLayer" or "TransformerDecoderLayer" or "TransformerEncoder" or "TransformerDecoder" or "Transformer" or "RReLU";
    }

    /// <summary>The audit's view of the session: what it may run, and what it decides.</summary>
    internal IReadOnlyList<ModelParameter> Selected => _selected;

    internal IReadOnlyList<ModelParameter> Trainable => _trainable;

    internal IReadOnlyDictionary<object, TrackedLayer> Layers => _layers;

    internal IReadOnlyDictionary<object, string> BeyondRule => _beyondRule;

    internal List<TrackedLayer> WatchShapes(ExampleBatch batch)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var order = new List<TrackedLayer>();
        foreach (var layer in _layers.Values)
        {
            layer.Called = order.Add;
        }

        Watch(scope, batch, TapMode.Shapes, () => Losses.Evaluate(batch, LossKind.Training), out _);
        return order;
    }

    /// <summary>Takes the audit's decisions.</summary>
    internal void Configure(TapMode mode, IReadOnlyList<ModelParameter> byRule, IReadOnlyList<ModelParameter> bySingleExample, ParameterCoverage coverage)
    {
        _mode = mode;
        var used = byRule.Select(p => p.Owner).ToHashSet(ReferenceEqualityComparer.Instance);
        foreach (var (module, layer) in _layers.Where(pair => !used.Contains(pair.Key)).ToList())
        {
            layer.Unhook();
            _layers.Remove(module);
        }

        _blocks = ParameterBlock.Group(byRule, _layers);
        _single = new SingleExampleGradients(bySingleExample, Losses);
        Coverage = coverage;
    }
}
