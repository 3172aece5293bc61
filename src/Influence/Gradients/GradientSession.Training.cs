using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <content>The session as a training loop uses it: parameters are frozen during a pass only, and the model keeps its mode.</content>
internal sealed partial class GradientSession
{
    private List<ModelParameter>? _plain;
    private int _trainableTensors;

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

        using var evaluation = new EvaluationMode(task.Model);
        var session = new GradientSession(task);
        try
        {
            var watch = Stopwatch.StartNew();
            session.Hook(natives: false);
            session.Freeze();
            session.Audit(train, validation);
            session.Thaw();
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
    /// <returns>What the layers saw, in no dispose scope.</returns>
    public CapturedPass Pass(ExampleBatch batch, LossKind kind)
    {
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
            var gradients = autograd.grad([losses.sum()], [.. taps, .. values], retain_graph: values.Length > 0, allow_unused: true).ToArray();
            GC.KeepAlive(taps);
            GC.KeepAlive(values);
            var calls = Calls(order, gradients, batch);
            var result = new CapturedPass(
                batch.Ids,
                calls,
                values.Length > 0 ? losses : null,
                losses.detach(),
                [.. gradients.Skip(taps.Count).Select(g => g.IsInvalid ? null : g.is_sparse ? g.to_dense() : g)]);
            result.LeaveScope(scope);
            return result;
        }
        finally
        {
            Thaw();
        }
    }

    /// <summary>The blocks' gradients of a pass, in the current scope; null where the pass did not use a block.</summary>
    public IReadOnlyList<BlockGradients?> BlocksOf(IReadOnlyDictionary<TrackedLayer, List<LayerCall>> calls) =>
        [.. _blocks.Select(block => block.Gradients(calls))];

    private Dictionary<TrackedLayer, List<LayerCall>> Calls(List<TrackedLayer> order, Tensor[] gradients, ExampleBatch batch)
    {
        var calls = _layers.ToDictionary(layer => layer, _ => new List<LayerCall>());
        var next = 0;
        foreach (var layer in order)
        {
            calls[layer] = layer.CallsWith(gradients.AsSpan(next, layer.Calls), mask: null);
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

    private int TrainableTensors() => Task.Model.parameters().Count(p => p.requires_grad);

    private void Thaw()
    {
        foreach (var parameter in _trainable)
        {
            parameter.Value.requires_grad = true;
        }
    }
}
