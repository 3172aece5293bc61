using System.Reflection;
using System.Runtime.CompilerServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// What an audit found, for the next call on the same task: by names and shapes, since hooks and layers are made anew for each call.
/// </summary>
/// <remarks>
/// Why it is safe to start from it. It is found again only where everything is equal that a plan was made from: the modules themselves and
/// whether each is in training mode, every parameter's name, shape, type, device and ties, which of them are selected, the loss delegates
/// (method and object), and names, types and shapes of the examples' tensors. What equality cannot tell (a delegate that reads a switch
/// which was turned meanwhile, a hook that was put on) is tried anew at each call: <see cref="PlanConfirmation"/> holds the plan against
/// plain autograd on examples drawn from the whole data, and anything that differs leads to a whole audit. Uses of weights past their
/// layers, in-place writes and numbers of rows are checked in every batch as ever, and rows and mixed losses in every batch but those whose
/// very numbers, at the very weights, were checked before. Everything is held weakly: the memory keeps no model, closure or data alive.
/// </remarks>
internal sealed class AuditMemory
{
    /// <summary>How many tasks and shapes are remembered of one model.</summary>
    private const int Most = 8;

    private static readonly ConditionalWeakTable<nn.Module, List<AuditMemory>> s_ofModel = [];

    private readonly Key _key;

    private AuditMemory(Key key) => _key = key;

    /// <summary>What the audit decided; null until it is known.</summary>
    public Decision? Decided { get; private set; }

    /// <summary>The batches that were checked under this task.</summary>
    public CheckedBatches Batches { get; } = new();

    /// <summary>How products were formed, by what that was decided from beside the shapes; it changes cost and no result.</summary>
    public Dictionary<string, (Contraction[] Plan, long QueriesAtOnce, int ExamplesAtOnce)> Contractions { get; } = [];

    /// <summary>What examples were counted to take.</summary>
    public List<ActivationBytes.Counted> Activations { get; } = [];

    /// <summary>The calls that were made; each looks at other examples.</summary>
    public long Calls { get; set; }

    /// <summary>The memory of a task on examples of these shapes, the model's own; a new one where there is none. Null where a task cannot
    /// be told from another.</summary>
    public static AuditMemory? Of(LayerHooks hooks, ExampleBatch train, ExampleBatch? queries)
    {
        if (Key.Of(hooks, train, queries) is not { } key)
        {
            return null;
        }

        var all = s_ofModel.GetOrCreateValue(hooks.Task.Model);
        lock (all)
        {
            var at = all.FindIndex(memory => memory._key.Equals(key));
            var found = at < 0 ? new AuditMemory(key) : all[at];
            if (at >= 0)
            {
                all.RemoveAt(at);
            }

            all.Insert(0, found);
            all.RemoveRange(Math.Min(Most, all.Count), Math.Max(0, all.Count - Most));
            return found;
        }
    }

    /// <summary>Remembers a plan.</summary>
    public void Keep(LayerHooks hooks, CapturePlan plan) =>
        Decided = new Decision(
            [.. hooks.Layers.Select(LayerMemory.Of)],
            plan.Mode,
            [.. plan.ByRule.Select(p => p.Name)],
            [.. plan.BySingleExample.Select(p => p.Name)],
            plan.Coverage.Parameters
        );

    /// <summary>Forgets the plan, and the batches that were checked under it.</summary>
    public void Forget()
    {
        Decided = null;
        Batches.Clear();
        Contractions.Clear();
    }

    /// <summary>The plan for layers that were hooked anew, which then know what the audit found of them; null where they are
    /// others.</summary>
    public CapturePlan? Restore(LayerHooks hooks)
    {
        if (Decided is not { } decided || !hooks.Layers.Select(LayerMemory.NameOf).SequenceEqual(decided.Layers.Select(l => l.Name)))
        {
            return null;
        }

        foreach (var (layer, memory) in hooks.Layers.Zip(decided.Layers))
        {
            foreach (var (kind, layouts) in memory.Layouts)
            {
                layer.Layouts[kind] = layouts;
            }

            layer.SharedShapes.AddRange(memory.SharedShapes);
        }

        var byName = hooks.Selected.ToDictionary(p => p.Name);
        return new CapturePlan(
            hooks.Layers,
            decided.Mode,
            [.. decided.ByRule.Select(name => byName[name])],
            [.. decided.BySingleExample.Select(name => byName[name])],
            new ParameterCoverage(decided.Coverage),
            hooks.Apart
        );
    }

    /// <summary>An audit's decisions, by names.</summary>
    public sealed record Decision(
        IReadOnlyList<LayerMemory> Layers,
        TapMode Mode,
        IReadOnlyList<string> ByRule,
        IReadOnlyList<string> BySingleExample,
        IReadOnlyList<ParameterCoverage.Row> Coverage
    );

    /// <summary>What it found of one layer.</summary>
    public sealed record LayerMemory(
        string Name,
        IReadOnlyList<(LossKind Kind, IReadOnlyList<LayerLayout> Layouts)> Layouts,
        IReadOnlyList<long[]> SharedShapes
    )
    {
        public static LayerMemory Of(TrackedLayer layer) =>
            new(NameOf(layer), [.. layer.Layouts.Select(pair => (pair.Key, pair.Value))], [.. layer.SharedShapes]);

        public static string NameOf(TrackedLayer layer) =>
            $"{layer.Path} {layer.Rule.Name} {layer.HasForeignHooks} {string.Join(' ', layer.Parts.Select(part => part.Name))}";
    }

    /// <summary>An object that is not kept alive: equal to itself as long as it lives.</summary>
    private readonly struct Weak(object? target) : IEquatable<Weak>
    {
        private readonly WeakReference<object>? _reference = target is null ? null : new WeakReference<object>(target);

        public bool Equals(Weak other) =>
            _reference is null || other._reference is null
                ? _reference is null && other._reference is null
                : _reference.TryGetTarget(out var own) && other._reference.TryGetTarget(out var its) && ReferenceEquals(own, its);

        public override bool Equals(object? obj) => obj is Weak other && Equals(other);

        public override int GetHashCode() => 0;
    }

    private sealed class Key
    {
        private readonly List<(Weak Target, MethodInfo? Method)> _delegates = [];
        private readonly List<(Weak Module, bool Training)> _modules = [];
        private readonly List<string> _words = [];

        public static Key? Of(LayerHooks hooks, ExampleBatch train, ExampleBatch? queries)
        {
            var (task, key) = (hooks.Task, new Key());
            foreach (var one in new Delegate?[] { task.TrainingLoss, task.Measurement, task.SampledLoss, task.PositionMask })
            {
                if (one is not null && one.GetInvocationList().Length > 1)
                {
                    return null;
                }

                key._delegates.Add((new Weak(one?.Target), one?.Method));
            }

            foreach (var (path, module) in ModelParameter.Modules(task.Model))
            {
                if (module is jit.ScriptModule)
                {
                    return null;
                }

                key._modules.Add((new Weak(module), module.training));
                key._words.Add(path);
            }

            var ties = new Dictionary<TensorIdentity, int>();
            foreach (var parameter in hooks.Trainable)
            {
                ties.TryAdd(parameter.Storage, ties.Count);
                using var value = parameter.Value.alias();
                key._words.Add($"{parameter.Name} {value.dtype} {value.device} {string.Join(',', value.shape)} {ties[parameter.Storage]}");
            }

            key._words.Add(string.Join(' ', hooks.Selected.Select(p => p.Name)));
            key._words.Add($"{task.Layers.Role} {task.SingleExamples?.Role} {task.Attention}");
            if (task.SingleExamples is { Role: LayerRole.ByName or LayerRole.NotEmbeddings } asked)
            {
                key._words.Add(string.Join(' ', hooks.Selected.Where(hooks.Includes(asked)).Select(p => p.Name)));
            }

            key.Add(train);
            key.Add(queries);
            return key;
        }

        public bool Equals(Key other) =>
            _words.SequenceEqual(other._words) && _delegates.SequenceEqual(other._delegates) && _modules.SequenceEqual(other._modules);

        /// <summary>A batch by what a plan may depend on; of its examples an audit looks at so many at most.</summary>
        private void Add(ExampleBatch? batch)
        {
            _words.Add(batch is null ? "none" : $"{Math.Min(batch.Count, CaptureAudit.Candidates)} examples");
            foreach (var (name, tensor) in batch is null ? [] : batch.Names.Zip(batch.Tensors))
            {
                _words.Add(
                    $"{name} {tensor.dtype} {(tensor.dim() > 0 && tensor.shape[0] == batch!.Count ? "B" : string.Empty)} "
                        + $"{string.Join(',', tensor.shape.Skip(1))}"
                );
            }
        }
    }
}
