using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <content>The session as a training loop uses it: parameters are frozen during a pass only, and the model keeps its mode.</content>
internal sealed partial class GradientSession
{
    private List<ModelParameter>? _plain;
    private int _trainableTensors;
    private bool _isTraining;

    /// <summary>
    /// The trainable parameters that no rule covers or that were not selected, tied ones once: a pass differentiates them as
    /// a plain backward pass does.
    /// </summary>
    public IReadOnlyList<ModelParameter> Plain
    {
        get
        {
            if (_plain is null)
            {
                var covered = _blocks.SelectMany(block => block.Parts).Select(part => part.Parameter.Storage).ToHashSet();
                _plain = [.. _trainable.Where(p => !covered.Contains(p.Storage)).DistinctBy(p => p.Storage)];
            }

            return _plain;
        }
    }

    /// <summary>Opens a session for a training loop. It is audited in evaluation mode; then the model is as it was, hooks aside.</summary>
    public static GradientSession OpenForTraining(InfluenceTask task, ExampleBatch train, ExampleBatch? validation)
    {
        if (task.PositionMask is not null)
        {
            throw new InfluenceException(
                "Training follows the loss as it is, which knows no PositionMask. Mask inside the model or the loss (Losses.CrossEntropy takes a mask), and leave PositionMask out.");
        }

        using var claim = ModelInUse.Claim(task.Model);
        using var evaluation = new EvaluationMode(task.Model);
        var session = new GradientSession(task);
        try
        {
            var watch = Stopwatch.StartNew();
            session.Hook(natives: false);
            session.Freeze();
            session.CheckNothingElseTrains(train);
            session.Audit(train, validation);
            session.Thaw();
            session._isTraining = true;
            session._trainableTensors = session.TrainableTensors();
            session.LogCoverage(watch);
            return session;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    /// <summary>
    /// One forward pass and one backward pass to the layers' outputs and to the <see cref="Plain"/> parameters. Afterwards every
    /// parameter takes part in autograd again.
    /// </summary>
    /// <param name="batch">The examples.</param>
    /// <param name="kind">Which delegate.</param>
    /// <param name="keepGraph">Whether <see cref="Reweighted"/> will be asked for.</param>
    /// <returns>What the layers saw, in no dispose scope.</returns>
    public CapturedPass Pass(ExampleBatch batch, LossKind kind, bool keepGraph = false)
    {
        using var claim = ModelInUse.Claim(Task.Model);
        using var scope = NewDisposeScope();
        CheckModel();
        using var grad = enable_grad();
        Freeze();
        List<ModelParameter> plain = [.. Plain];
        Tensor[] values = [.. plain.Select(p => p.Value)];
        foreach (var value in values)
        {
            value.requires_grad = true;
        }

        try
        {
            var order = Watch(scope, batch, _mode, kind, out var losses);
            if (!losses.requires_grad)
            {
                throw new InfluenceException(
                    "The loss does not depend on any trainable parameter. Does the loss delegate detach the model's output, or run under no_grad()?");
            }

            var taps = order.SelectMany(layer => layer.Taps).ToList();
            var gradients = GuardedBackward.Gradients(
                [losses.sum()], [.. taps, .. values], keepGraph || values.Length > 0 ? GraphAfter.Kept : GraphAfter.Freed, ids: batch.Ids);
            var calls = Calls(order, gradients, batch, keepGraph);
            var result = new CapturedPass(
                batch.Ids,
                calls,
                keepGraph || values.Length > 0 ? losses : null,
                losses.detach(),
                [.. gradients.Skip(taps.Count).Select(g => g is { is_sparse: true } ? g.to_dense() : g)]);
            result.LeaveScope(scope);
            return result;
        }
        finally
        {
            Thaw();
        }
    }

    /// <summary>
    /// The calls of a pass that kept its graph, with the gradients of sum over i of w_i l_i in place of those of the summed losses, in
    /// the current scope. The <see cref="Plain"/> parameters' share goes to their <c>.grad</c> at once.
    /// </summary>
    /// <param name="pass">The pass.</param>
    /// <param name="weights">w, <c>[B]</c>, of the losses' type.</param>
    public Dictionary<TrackedLayer, List<LayerCall>> Reweighted(CapturedPass pass, Tensor weights)
    {
        Tensor[] taps = [.. pass.Calls.Values.SelectMany(calls => calls).Select(call => call.Tap?.Output).OfType<Tensor>()];
        Tensor[] leaves = [.. Plain.Where((_, k) => pass.Plain[k] is not null).Select(p => p.Value)];
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
                GuardedBackward.Accumulate((losses * weights).sum(), taps.Length > 0 ? [.. taps, .. leaves] : null, GraphAfter.Kept, pass.Ids);
            }

            return pass.Calls.ToDictionary(pair => pair.Key, pair => pair.Value.Where(call => call.Tap is not null)
                .Select(call => call with { OutputGradient = call.Tap!.Value.Layout.ExamplesFirst(call.Tap.Value.Output.grad!) }).ToList());
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
        [.. _blocks.Select(block => block.Gradients(calls))];

    private Dictionary<TrackedLayer, List<LayerCall>> Calls(List<TrackedLayer> order, Tensor?[] gradients, ExampleBatch batch, bool keepTaps)
    {
        var calls = _layers.ToDictionary(layer => layer, _ => new List<LayerCall>());
        var next = 0;
        foreach (var layer in order)
        {
            calls[layer] = layer.CallsWith(gradients.AsSpan(next, layer.Calls), mask: null, keepTaps);
            next += layer.Calls;
            CheckRows(layer, calls[layer], batch);
        }

        return calls;
    }

    /// <summary>A loop may change its model between steps; what would make a pass wrong is refused here.</summary>
    private void CheckModel()
    {
        foreach (var parameter in _trainable)
        {
            var value = parameter.Value;
            if (value.dtype != Dtype || value.device_type != Device.type || (Device.index >= 0 && value.device_index != Device.index))
            {
                throw new InfluenceException(
                    $"The model was {Dtype} on {Device} when TrainingGradients was opened; now {parameter.Name} is {value.dtype} on {value.device}. " +
                    "Move the model first, then write TrainingGradients.Open(...) anew.");
            }

            if (!value.requires_grad)
            {
                throw new InfluenceException(
                    $"{parameter.Name} was trainable when TrainingGradients was opened and is frozen now. After parameters are frozen, write TrainingGradients.Open(...) anew.");
            }
        }

        if (TrainableTensors() is var now && now != _trainableTensors)
        {
            throw new InfluenceException(
                $"The model had {_trainableTensors} trainable parameters when TrainingGradients was opened and has {now} now. " +
                "After parameters are thawed or added, write TrainingGradients.Open(...) anew.");
        }
    }

    /// <summary>With the model frozen the losses are constants, or a pass would leave some tensor's <c>.grad</c> out in silence.</summary>
    private void CheckNothingElseTrains(ExampleBatch batch)
    {
        using var scope = NewDisposeScope();
        using var grad = enable_grad();
        if (Losses.Evaluate(batch.Pick([0]), LossKind.Training).requires_grad)
        {
            throw new InfluenceException(
                "The loss also depends on trainable tensors that are no parameters of task.Model (a head beside it, a temperature, an input): they would get no .grad. " +
                "Register them in the model that the task is given, or detach() them.");
        }
    }

    private int TrainableTensors() => Task.Model.parameters().Count(p => p.requires_grad);

    /// <summary>From now on what the layers see is copied, because something writes to it in place.</summary>
    public void CopyTaps() => _mode = TapMode.Copy;

    private void Thaw()
    {
        foreach (var parameter in _trainable)
        {
            parameter.Value.requires_grad = true;
        }
    }
}
