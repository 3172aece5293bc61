using System.Diagnostics;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Per-example gradients of a task's model, batch by batch: the layers' hooks and the audit's plan. Opening a session hooks the
/// layers and freezes the parameters; disposing it leaves the model as it was found, whatever happened between.
/// </summary>
internal sealed class GradientSession : IDisposable
{
    private readonly LayerHooks _hooks;
    private readonly SingleExampleGradients _single;
    private readonly BatchChecks _checks;
    private readonly HashSet<TensorIdentity> _distrusted = [];
    private readonly ModelInUse _claim;
    private readonly ActivationBytes _activations;
    private CapturePlan _plan;

    private GradientSession(LayerHooks hooks, FirstBatches.Audited audited, ModelInUse claim)
    {
        var (plan, memory, _) = audited;
        (_hooks, _plan, _claim, _activations) = (hooks, plan, claim, audited.Activations);
        _checks = new BatchChecks(hooks, memory?.Batches);
        Contractions = memory?.Contractions ?? [];
        _single = new SingleExampleGradients(plan.BySingleExample, hooks.Losses, hooks.Apart);
    }

    public InfluenceTask Task => _hooks.Task;

    public LossEvaluator Losses => _hooks.Losses;

    /// <inheritdoc cref="LayerHooks.Dtype"/>
    public ScalarType Dtype => _hooks.Dtype;

    /// <inheritdoc cref="LayerHooks.ModelDtype"/>
    public ScalarType ModelDtype => _hooks.ModelDtype;

    public Device Device => _hooks.Device;

    public ParameterCoverage Coverage => _plan.Coverage;

    /// <summary>Whether positions that the loss does not depend on are found and masked, for means over positions; products do not need
    /// it.</summary>
    public bool FindsReachedPositions { get; set; }

    /// <summary>How earlier calls on the same task and shapes formed their products.</summary>
    public Dictionary<string, (Contraction[] Plan, long QueriesAtOnce, int ExamplesAtOnce)> Contractions { get; }

    /// <summary>The blocks of the parameters with a rule.</summary>
    public IReadOnlyList<ParameterBlock> Blocks => _plan.Blocks;

    /// <summary>Every trainable parameter; a tied one by each of its names.</summary>
    public IReadOnlyList<ModelParameter> Trainable => _hooks.Trainable;

    /// <summary>
    /// What the written-out parts of every entry of <see cref="BatchGradients.Blocks"/> are parts of, in order: the blocks of
    /// the rules, then the parameters that are taken by single examples.
    /// </summary>
    public IReadOnlyList<IReadOnlyList<ParameterPart>> Parts =>
        [
            .. Blocks.Select(block => block.Parts),
            .. _single.Blocks.Select(IReadOnlyList<ParameterPart> (block) => [.. block.Select(ParameterPart.Whole)]),
        ];

    /// <summary>A name for every entry of <see cref="BatchGradients.Blocks"/>.</summary>
    public IReadOnlyList<string> BlockNames => [.. Parts.Select(parts => string.Join(", ", parts.Select(p => p.Name)))];

    /// <summary>
    /// What a fit belongs to: a hash of all the model's weights and buffers, the frozen ones too, since gradients depend on them; and one
    /// of the names of the parameters that take part.
    /// </summary>
    public string WeightsFingerprint() => $"{WeightsHash.OfAll(Task.Model)}-{WeightsHash.OfNames(Taking.Select(p => p.Name))}";

    /// <summary>The fingerprint of earlier versions: the parameters that take part, names and values.</summary>
    public string EarlierFingerprint() => WeightsHash.Of(Taking);

    private IEnumerable<ModelParameter> Taking => Parts.SelectMany(parts => parts).Select(p => p.Parameter).Distinct();

    /// <inheritdoc cref="LayerHooks.WithManagedAttention"/>
    public IDisposable WithManagedAttention() => _hooks.WithManagedAttention();

    /// <summary>Opens a session and audits it on the first examples, so that everything that can fail fails here.</summary>
    /// <param name="task">The model and its loss.</param>
    /// <param name="train">Training examples.</param>
    /// <param name="queries">Queries, where there are any.</param>
    /// <param name="apart">Parameters for which this differs never share a block, so that each block has one learning rate, say; null: all
    /// may.</param>
    /// <param name="memory">What one batch's activations may take: larger batches are cut; null: half of the memory.</param>
    public static GradientSession Open(
        InfluenceTask task,
        Examples train,
        Examples? queries,
        Func<ModelParameter, object>? apart = null,
        MemoryBudget? memory = null
    )
    {
        using var stage = CostMeter.Stage("audit");
        var watch = Stopwatch.StartNew();
        var claim = ModelInUse.Claim(task.Model);
        LayerHooks? hooks = null;
        GradientSession? session = null;
        try
        {
            using (Spans.Of("hooks"))
            {
                hooks = LayerHooks.ForScores(task, apart);
            }

            var audited = FirstBatches.Audit(hooks, train, queries, memory ?? MemoryBudget.HalfOfMemory);
            hooks.KeepOnly(audited.Plan.Layers);
            session = new GradientSession(hooks, audited, claim);
            session.CheckMask(train);
            audited.Plan.Coverage.Log(task.Logger, watch.Elapsed);
            return session;
        }
        catch
        {
            if (session is null)
            {
                hooks?.Dispose();
                hooks?.Thaw();
                claim.Dispose();
            }

            session?.Dispose();
            throw;
        }
    }

    /// <summary>The first example's training loss; null where no layer is followed by a rule.</summary>
    public double? FirstLoss(Examples train)
    {
        foreach (var batch in train.Batches().Take(1))
        {
            using var scope = NewDisposeScope();
            using var one = Capture(batch.Pick([0]), LossKind.Training);
            return one.Losses?.to_type(ScalarType.Float64).cpu()[0].item<double>();
        }

        return null;
    }

    /// <summary>The batches of some examples, cut where their activations, or what the caller makes of them, would not fit.</summary>
    /// <param name="examples">The examples.</param>
    /// <param name="kind">The delegate that they are captured under.</param>
    /// <param name="atOnce">At most so many at once, for the caller's sake.</param>
    public IEnumerable<ExampleBatch> Batches(Examples examples, LossKind kind, int atOnce = int.MaxValue) =>
        SubBatches.Of(examples, batch => Math.Min(atOnce, _activations.ExamplesAtOnce(batch, kind)));

    /// <summary>The parts of one batch that fit, in order.</summary>
    public IEnumerable<ExampleBatch> Cut(ExampleBatch batch, LossKind kind) =>
        SubBatches.Of(batch, _activations.ExamplesAtOnce(batch, kind));

    /// <summary>The per-example gradients of a batch. The caller disposes the result before it captures the next batch.</summary>
    public BatchGradients Capture(ExampleBatch batch, LossKind kind) => Capture(batch, kind, _checks);

    /// <summary>The same of a few examples that nothing but sizes and kinds is read from.</summary>
    public BatchGradients CaptureSample(ExampleBatch batch, LossKind kind) => Capture(batch, kind, checks: null);

    private BatchGradients Capture(ExampleBatch batch, LossKind kind, BatchChecks? checks)
    {
        var scope = NewDisposeScope();
        try
        {
            var result = new BatchGradients(scope, batch.Ids, Dtype, Device);
            result.Blocks = [.. CaptureLayers(scope, batch, kind, result, checks), .. _single.Capture(batch, kind)];
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
        _checks.Dispose();
        _hooks.Dispose();
        _hooks.Thaw();
        _claim.Dispose();
    }

    private List<BlockGradients?> CaptureLayers(
        DisposeScope scope,
        ExampleBatch batch,
        LossKind kind,
        BatchGradients result,
        BatchChecks? checks
    )
    {
        if (Blocks.Count == 0)
        {
            return [];
        }

        bool isDue;
        using (Spans.Of("check: is it known"))
        {
            isDue = checks?.IsDue(batch, kind) == true;
        }

        var trace = Run(scope, batch, kind, isDue ? GraphAfter.Kept : GraphAfter.Freed);
        if (!isDue && checks?.IsAnother(trace) == true)
        {
            isDue = true;
            trace = Run(scope, batch, kind, GraphAfter.Kept);
        }

        using var noGrad = no_grad();
        result.Losses = trace.Losses.detach();
        var mask = Task.MaskOf(batch);
        if (mask is not null && !trace.Layers.Any(layer => layer.HasPositions(mask.shape[1])))
        {
            throw new InfluenceException(
                $"PositionMask has {mask.shape[1]} positions, but no tracked layer's output has so many; it returns [B, T] with the T "
                    + "that the layers see."
            );
        }

        Distrust(
            trace.WithOtherRows(batch.Count),
            batch,
            "saw another number of rows than the first examples let expect, as where a layer is given some of the examples"
        );
        if (isDue)
        {
            Distrust(_checks.ForeignRows(trace, batch, kind), batch, "saw rows in another order than the batch's examples");
        }

        using var factors = Spans.Of("factors");
        var wrong = trace.UsedElsewhere.Select(p => p.Storage).Concat(_distrusted).ToHashSet();
        var calls = trace.Calls(_plan.Layers, mask);
        if (FindsReachedPositions)
        {
            ReachedPositions.Mark(calls);
        }

        var blocks = Blocks
            .Select(block => block.Parts.Any(part => wrong.Contains(part.Parameter.Storage)) ? null : block.Gradients(calls))
            .ToList();
        if (wrong.Count > 0)
        {
            Substitute(blocks, wrong, batch, kind);
        }

        return blocks;
    }

    private CaptureTrace Run(DisposeScope scope, ExampleBatch batch, LossKind kind, GraphAfter graph)
    {
        if (_hooks.Run(scope, _plan, batch, kind, [], graph) is not { } trace)
        {
            // From now on what the layers see is copied, because something writes to it in place.
            _plan = _plan with
            {
                Mode = TapMode.Copy,
            };
            trace = _hooks.Run(scope, _plan, batch, kind, [], graph)!;
        }

        return trace.Layers.Count == 0 || trace.Losses.requires_grad
            ? trace
            : throw new InfluenceException(
                "The loss does not depend on any tracked layer's output. Does the loss delegate detach the model's output, or run under "
                    + "no_grad()?"
            );
    }

    /// <summary>Takes the layers' parameters by single examples from now on; where unchecked batches came before, their scores are doubtful
    /// and the run ends.</summary>
    private void Distrust(List<TrackedLayer> layers, ExampleBatch batch, string reason)
    {
        List<ModelParameter> news = [.. _plan.ByRule.Where(p => !_distrusted.Contains(p.Storage) && layers.Any(layer => layer.Holds(p)))];
        if (news.Count == 0)
        {
            return;
        }

        var names = InfluenceException.List([.. layers.Select(layer => $"{layer.Path} ({layer.Rule.Name})")]);
        if (_checks.Unchecked > 0)
        {
            throw new InfluenceException(
                $"{names} {reason}, in the batch that begins with the example of id {batch.Ids[0]}. {_checks.Unchecked:N0} batches "
                    + "before it were taken as if that could not be, so nothing of this run is given out. Take these layers by single "
                    + $"examples: SingleExamples = LayerSelection.Where(n => n.StartsWith(\"{layers[0].Path}\")), or leave them out: "
                    + "Layers = LayerSelection.Where(...)."
            );
        }

        _distrusted.UnionWith(news.Select(p => p.Storage));
        Log.Distrusted(Task.Logger, names, reason);
    }

    /// <summary>Gradients of single examples in the places of those that the layers do not give.</summary>
    private void Substitute(List<BlockGradients?> blocks, HashSet<TensorIdentity> wrong, ExampleBatch batch, LossKind kind)
    {
        var single = new SingleExampleGradients(
            [
                .. _plan.ByRule.Where(p =>
                    Blocks.Any(block =>
                        block.Parts.Any(part => wrong.Contains(part.Parameter.Storage))
                        && block.Parts.Any(part => part.Parameter.Storage == p.Storage)
                    )
                ),
            ],
            Losses
        );
        if (Task.PositionMask is not null)
        {
            throw new InfluenceException(
                $"In the batch that begins with the example of id {batch.Ids[0]} what the layers saw does not give the gradients of "
                    + $"{InfluenceException.List([.. single.Parameters.Select(p => p.Name)])}, and PositionMask cannot be laid on single "
                    + "examples. Mask inside the model or the loss instead, or leave these out by Layers."
            );
        }

        var rows = single.Rows(batch, kind);
        for (var k = 0; k < blocks.Count; k++)
        {
            if (Blocks[k].Parts.Any(part => wrong.Contains(part.Parameter.Storage)))
            {
                blocks[k] = Blocks[k]
                    .Substitute(batch.Count, p => rows[single.Parameters.ToList().FindIndex(own => own.Storage == p.Storage)]);
            }
        }
    }

    /// <summary>A mask that cannot be laid on everything would give scores that are masked in part.</summary>
    private void CheckMask(Examples train)
    {
        if (Task.PositionMask is null)
        {
            return;
        }

        var unmasked = Blocks
            .SelectMany(block => block.Uses)
            .Where(use => !use.Layer.Rule.PositionsLead)
            .Select(use => $"{use.Layer.Path} ({use.Layer.Rule.Name})")
            .Concat(_single.Parameters.Select(p => p.Name))
            .Distinct()
            .ToList();
        if (unmasked.Count > 0)
        {
            throw new InfluenceException(
                $"PositionMask cannot be laid on these: {InfluenceException.List(unmasked)}. Mask inside the model or the loss instead, "
                    + "or leave them out by Layers."
            );
        }

        foreach (var batch in train.Batches().Take(1))
        {
            using var scope = NewDisposeScope();
            Capture(batch.Pick([0]), LossKind.Training).Dispose();
        }
    }
}
