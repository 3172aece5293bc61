using System.Diagnostics;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The hooks and the audit's plan as a training loop uses them: parameters are frozen during a pass only, and the model keeps its mode.
/// Layers that a pass shows to be wrong by their rule are trained as a plain backward pass trains them, from that pass on.
/// </summary>
internal sealed class TrainingSession : IDisposable
{
    private const string Demoted = "a batch showed that what its layer sees does not give its gradient";

    private readonly LayerHooks _hooks;
    private readonly BatchChecks _checks;
    private readonly CapturePlan _audited;
    private readonly int _trainableTensors;
    private CapturePlan _plan;

    private TrainingSession(LayerHooks hooks, CapturePlan plan)
    {
        (_hooks, _audited, _plan, _checks) = (hooks, plan, plan, new BatchChecks(hooks));
        Coverage = plan.Coverage;
        _trainableTensors = TrainableTensors();
        FindPlain();
    }

    public InfluenceTask Task => _hooks.Task;

    public LossEvaluator Losses => _hooks.Losses;

    public ScalarType Dtype => _hooks.Dtype;

    public Device Device => _hooks.Device;

    public ParameterCoverage Coverage { get; private set; }

    /// <summary>The blocks that had a rule when the session was opened; a pass that takes one by plain autograd did not use it.</summary>
    public IReadOnlyList<ParameterBlock> Blocks => _audited.Blocks;

    /// <summary>What the written-out parts of a block are parts of, block by block.</summary>
    public IReadOnlyList<IReadOnlyList<ParameterPart>> Parts => [.. Blocks.Select(block => block.Parts)];

    /// <summary>Every trainable parameter; a tied one by each of its names.</summary>
    public IReadOnlyList<ModelParameter> Trainable => _hooks.Trainable;

    /// <summary>
    /// The trainable parameters that no rule covers or that were not selected, tied ones once: a pass differentiates them as
    /// a plain backward pass does.
    /// </summary>
    public IReadOnlyList<ModelParameter> Plain { get; private set; } = [];

    /// <summary>Opens a session for a training loop. It is audited in evaluation mode; then the model is as it was, hooks aside.</summary>
    public static TrainingSession Open(InfluenceTask task, ExampleBatch train, ExampleBatch? validation)
    {
        if (task.PositionMask is not null)
        {
            throw new InfluenceException(
                "Training follows the loss as it is, which knows no PositionMask. Mask inside the model or the loss (Losses.CrossEntropy "
                    + "takes a mask), and leave PositionMask out."
            );
        }

        var watch = Stopwatch.StartNew();
        using var claim = ModelInUse.Claim(task.Model);
        using var evaluation = new EvaluationMode(task.Model);
        var hooks = LayerHooks.ForTraining(task);
        try
        {
            CheckNothingElseTrains(hooks, train);
            var plan = CaptureAudit.Run(hooks, train, validation, elsewhere: null);
            hooks.KeepOnly(plan.Layers);
            hooks.Thaw();
            Log.AuditDone(
                task.Logger,
                plan.Coverage.ByRule,
                plan.Coverage.BySingleExamples,
                plan.Coverage.NotIncluded,
                watch.Elapsed.TotalMilliseconds
            );
            return new TrainingSession(hooks, plan);
        }
        catch
        {
            hooks.Dispose();
            hooks.Thaw();
            throw;
        }
    }

    /// <summary>
    /// One forward pass and one backward pass to the layers' outputs and to the <see cref="Plain"/> parameters. Afterwards every
    /// parameter takes part in autograd again.
    /// </summary>
    /// <param name="batch">The examples.</param>
    /// <param name="kind">Which delegate.</param>
    /// <returns>What the layers saw, in no dispose scope.</returns>
    public CapturedPass Pass(ExampleBatch batch, LossKind kind) =>
        Pass(batch, kind, new Needs(Mixed: false, Check: _checks.IsDue(batch, kind)));

    /// <summary>The same of examples that the model mixes: no row is an example's own, and <see cref="Reweighted"/> will be asked
    /// for.</summary>
    /// <param name="batch">The examples.</param>
    /// <param name="kind">Which delegate.</param>
    public CapturedPass MixedPass(ExampleBatch batch, LossKind kind) => Pass(batch, kind, new Needs(Mixed: true, Check: false));

    /// <summary>
    /// The calls of a pass that kept its graph, with the gradients of sum over i of w_i l_i in place of those of the summed losses, in
    /// the current scope. The <see cref="Plain"/> parameters' share goes to their <c>.grad</c> at once.
    /// </summary>
    /// <param name="pass">The pass.</param>
    /// <param name="weights">w, <c>[B]</c>, of the losses' type.</param>
    public static Dictionary<TrackedLayer, List<LayerCall>> Reweighted(CapturedPass pass, Tensor weights)
    {
        Tensor[] taps = [.. pass.Calls.Values.SelectMany(calls => calls).Select(call => call.Tap?.Output).OfType<Tensor>()];
        Tensor[] leaves = [.. pass.PlainParameters.Where((_, k) => pass.Plain[k] is not null).Select(p => p.Value)];
        if (pass.Graph is not { } losses || taps.Length + leaves.Length == 0)
        {
            return [];
        }

        try
        {
            using (enable_grad())
            {
                // The parameters with rules were frozen in the pass, so they are no part of this graph. Inputs are those of the
                // pass or none: libtorch fails on some others behind views that were written to.
                GuardedBackward.Accumulate(
                    (losses * weights).sum(),
                    taps.Length > 0 ? [.. taps, .. leaves] : null,
                    GraphAfter.Kept,
                    pass.Ids
                );
            }

            return pass.Calls.ToDictionary(
                pair => pair.Key,
                pair =>
                    pair.Value.Where(call => call.Tap is not null)
                        .Select(call => call with { OutputGradient = call.Tap!.Value.Layout.ExamplesFirst(call.Tap.Value.Output.grad!) })
                        .ToList()
            );
        }
        finally
        {
            foreach (var tap in taps)
            {
                tap.grad = null;
            }

            GC.KeepAlive(leaves);
        }
    }

    /// <summary>The blocks' gradients of a pass, in the current scope; null where the pass did not use a block.</summary>
    public IReadOnlyList<BlockGradients?> BlocksOf(IReadOnlyDictionary<TrackedLayer, List<LayerCall>> calls) =>
        [.. Blocks.Select(block => block.Gradients(calls))];

    /// <summary>From now on what the layers see is copied, because something writes to it in place.</summary>
    public void CopyTaps() => _plan = _plan with { Mode = TapMode.Copy };

    /// <inheritdoc cref="LayerHooks.WritesInPlace"/>
    public bool WritesInPlace(ExampleBatch batch, LossKind kind) => _hooks.WritesInPlace(batch, kind, out _);

    /// <inheritdoc cref="LayerHooks.LossValues"/>
    public double[] LossValues(ExampleBatch batch, LossKind kind) => _hooks.LossValues(batch, kind);

    /// <summary>What was frozen since the last pass is the caller's doing and stays.</summary>
    public void Dispose()
    {
        _checks.Dispose();
        _hooks.Dispose();
    }

    private CapturedPass Pass(ExampleBatch batch, LossKind kind, Needs needs)
    {
        using var claim = ModelInUse.Claim(Task.Model);
        using (Spans.Of("check: model"))
        {
            CheckModel();
        }

        using var before = RandomState();
        if (TryPass(batch, kind, needs) is { } pass)
        {
            return pass;
        }

        // The same pass again, by another plan: the same random numbers, and running statistics move once.
        using var moved = new UndisturbedState(Task.Model);
        CapturedPass? again;
        do
        {
            random.set_rng_state(before);
            again = TryPass(batch, kind, needs);
        } while (again is null);
        return again;
    }

    private static Tensor RandomState()
    {
        using var span = Spans.Of("random numbers kept");
        return random.get_rng_state();
    }

    /// <summary>A pass; null where it showed that the plan is wrong, which then is another.</summary>
    private CapturedPass? TryPass(ExampleBatch batch, LossKind kind, Needs needs)
    {
        using var scope = NewDisposeScope();
        _hooks.Freeze();
        var plain = Plain;
        var graph = needs.Mixed || plain.Count > 0 ? GraphAfter.Kept : GraphAfter.Freed;
        Tensor[] values = [.. plain.Select(p => p.Value)];
        ParameterGate.Set(values, true);
        try
        {
            if (_hooks.Run(scope, _plan, batch, kind, values, needs.Check ? GraphAfter.Kept : graph) is not { } trace)
            {
                CopyTaps();
                return null;
            }

            if (!trace.Losses.requires_grad)
            {
                throw new InfluenceException(
                    "The loss does not depend on any trainable parameter. Does the loss delegate detach the model's output, or run under "
                        + "no_grad()?"
                );
            }

            if (Demote(trace, batch, needs, graph))
            {
                return null;
            }

            var result = new CapturedPass(
                batch.Ids,
                trace.Calls(_audited.Layers, mask: null, needs.Mixed),
                graph == GraphAfter.Kept ? trace.Losses : null,
                trace.Losses.detach(),
                plain,
                trace.Leaves
            );
            result.LeaveScope(scope);
            return result;
        }
        finally
        {
            _hooks.Thaw();
        }
    }

    /// <summary>Takes what the pass shows to be wrong by its rule off the rules; whether there was anything.</summary>
    private bool Demote(CaptureTrace trace, ExampleBatch batch, Needs needs, GraphAfter graph)
    {
        var layers = trace.WithOtherRows(batch.Count);
        if (needs.Check)
        {
            layers.AddRange(_checks.ForeignRows(trace, batch, graph));
        }

        var wrong = _plan
            .ByRule.Where(p => layers.Any(layer => layer.Holds(p)))
            .Concat(trace.UsedElsewhere)
            .Select(p => p.Storage)
            .ToHashSet();
        if (wrong.Count == 0)
        {
            return false;
        }

        // A layer that is watched no more trains all its parameters plainly, and so does every other layer of theirs.
        for (var count = 0; count != wrong.Count; )
        {
            count = wrong.Count;
            wrong.UnionWith(
                _plan
                    .Layers.Where(layer => layer.Parts.Any(part => wrong.Contains(part.Parameter.Storage)))
                    .SelectMany(layer => layer.Parts)
                    .Select(part => part.Parameter.Storage)
            );
        }

        List<ModelParameter> left = [.. _plan.ByRule.Where(p => !wrong.Contains(p.Storage))];
        List<ModelParameter> demoted = [.. _plan.ByRule.Except(left)];
        var names = Trainable
            .GroupBy(p => p.Storage)
            .Where(tied => wrong.Contains(tied.Key))
            .Select(tied => ParameterCoverage.NameOf(tied.Select(p => p.Name)))
            .ToHashSet();
        Coverage = new ParameterCoverage([
            .. Coverage.Parameters.Select(p =>
                names.Contains(p.Name) ? p with { Method = ParameterCoverage.SingleExamples, Note = Demoted } : p
            ),
        ]);
        _plan = new CapturePlan(_plan.Layers, _plan.Mode, left, [.. _plan.BySingleExample, .. demoted], Coverage);
        FindPlain();
        Log.Distrusted(Task.Logger, InfluenceException.List([.. names]), Demoted);
        return true;
    }

    private void FindPlain()
    {
        var covered = _plan.Blocks.SelectMany(block => block.Parts).Select(part => part.Parameter.Storage).ToHashSet();
        Plain = [.. Trainable.Where(p => !covered.Contains(p.Storage)).DistinctBy(p => p.Storage)];
    }

    /// <summary>A loop may change its model between steps; what would make a pass wrong is refused here.</summary>
    private void CheckModel()
    {
        foreach (var parameter in Trainable)
        {
            var value = parameter.Value;
            if (value.dtype != Dtype || value.device_type != Device.type || (Device.index >= 0 && value.device_index != Device.index))
            {
                throw new InfluenceException(
                    $"The model was {Dtype} on {Device} when TrainingGradients was opened; now {parameter.Name} is {value.dtype} on "
                        + $"{value.device}. Move the model first, then write TrainingGradients.Open(...) anew."
                );
            }

            if (!value.requires_grad)
            {
                throw new InfluenceException(
                    $"{parameter.Name} was trainable when TrainingGradients was opened and is frozen now. After parameters are frozen, "
                        + "write TrainingGradients.Open(...) anew."
                );
            }
        }

        if (TrainableTensors() is var now && now != _trainableTensors)
        {
            throw new InfluenceException(
                $"The model had {_trainableTensors} trainable parameters when TrainingGradients was opened and has {now} now. "
                    + "After parameters are thawed or added, write TrainingGradients.Open(...) anew."
            );
        }
    }

    /// <summary>With the model frozen the losses are constants, or a pass would leave some tensor's <c>.grad</c> out in silence.</summary>
    private static void CheckNothingElseTrains(LayerHooks hooks, ExampleBatch batch)
    {
        using var scope = NewDisposeScope();
        using var grad = enable_grad();
        if (hooks.Losses.Evaluate(batch.Pick([0]), LossKind.Training).requires_grad)
        {
            throw new InfluenceException(
                "The loss also depends on trainable tensors that are no parameters of task.Model (a head beside it, a temperature, "
                    + "an input): they would get no .grad. Register them in the model that the task is given, or detach() them."
            );
        }
    }

    private int TrainableTensors() => Task.Model.parameters().Count(p => p.requires_grad);

    /// <summary>What a pass is for: weights that differ between examples that are mixed take a second one through its graph; and whether
    /// its rows are checked.</summary>
    private readonly record struct Needs(bool Mixed, bool Check);
}
