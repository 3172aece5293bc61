using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Which of the task's delegates is evaluated.</summary>
internal enum LossKind
{
    Training,
    Measurement,

    /// <summary>The training loss with labels drawn from the model.</summary>
    Sampled,
}

/// <summary>
/// Calls the task's loss delegates and holds them to their contract: one finite value per example. What goes wrong is
/// reported with the ids of the examples.
/// </summary>
internal sealed class LossEvaluator(InfluenceTask task, ScalarType dtype, Device device)
{
    /// <summary>The seed of sampled labels.</summary>
    public long Seed { get; set; }

    /// <summary>The losses of a batch, <c>[B]</c>.</summary>
    /// <param name="batch">The examples.</param>
    /// <param name="kind">Which delegate.</param>
    /// <param name="finite">Whether a loss that is NaN or infinite is an error.</param>
    public Tensor Evaluate(ExampleBatch batch, LossKind kind, bool finite = true)
    {
        CheckBatch(batch);
        var writes = Watched(batch);
        var losses = Call(batch, kind);
        CheckShape(losses, batch, kind);
        CheckWrites(writes, batch, kind);
        using var isFinite = Spans.Of("check: finite losses");
        if (finite && FiniteProducts.AnyNotFinite(losses.detach()))
        {
            var flags = losses.detach().isfinite().to_type(ScalarType.Int64).cpu().data<long>().ToArray();
            var bad = batch.Ids.Where((_, i) => flags[i] == 0).ToArray();
            throw new InfluenceException(
                $"{Name(kind)} is NaN or infinite for the examples with ids {InfluenceException.List(bad)}. "
                    + "Look at their inputs, or leave them out."
            )
            {
                ExampleIds = bad,
            };
        }

        return HalfPrecision.Wide(losses);
    }

    private ExampleWrites? Watched(ExampleBatch batch)
    {
        using var span = Spans.Of("check: writes to the examples");
        return task.WithoutChecks ? null : new ExampleWrites(batch);
    }

    private void CheckWrites(ExampleWrites? writes, ExampleBatch batch, LossKind kind)
    {
        using var span = Spans.Of("check: writes to the examples");
        if (writes is not null && writes.Any())
        {
            CheckRepeats(batch, kind);
        }
    }

    /// <summary>The delegate wrote to the examples. What it writes once for all, as where padding is cleared, is no harm; another
    /// evaluation tells.</summary>
    private void CheckRepeats(ExampleBatch batch, LossKind kind)
    {
        // In a training loop it draws random numbers, and running statistics would move.
        using var undisturbed = new UndisturbedState(task.Model);
        if (ExampleWrites.ChangedBy(batch, copy => Call(copy, kind)) is { } name)
        {
            throw new InfluenceException(
                $"{Name(kind)} writes to the examples' tensor \"{name}\" in place, so that each evaluation sees other numbers than "
                    + $"the one before. Work on a copy, b[\"{name}\"].clone(), or use the operator without an underscore; and read the "
                    + "data anew: they are changed."
            );
        }
    }

    private string Name(LossKind kind) =>
        kind switch
        {
            LossKind.Measurement => "Measurement",
            LossKind.Sampled when task.SampledLoss is not null => "SampledLoss",
            _ => "TrainingLoss",
        };

    private Func<ExampleBatch, Tensor> Delegate(LossKind kind) =>
        kind switch
        {
            LossKind.Measurement => task.Measurement ?? task.TrainingLoss,
            LossKind.Sampled => Sampled,
            _ => task.TrainingLoss,
        };

    private Tensor Sampled(ExampleBatch batch)
    {
        var sampler = new InfluenceTask.Sampler(Seed, batch.Ids);
        if (task.SampledLoss is { } own)
        {
            return own(batch, sampler);
        }

        using var trace = new LossTrace(sampler);
        var losses = task.TrainingLoss(batch);
        return trace.Losses.Count > 0
            ? losses
            : throw new InfluenceException(
                "The true Fisher needs labels drawn from the model, but TrainingLoss is not made of Losses.CrossEntropy, "
                    + "BinaryCrossEntropy, SquaredError or the others of Influence.Losses, which can draw them. Use one of these, or "
                    + "write InfluenceTask.SampledLoss = (b, draw) => { var z = model.call(b[\"x\"]); return functional.cross_entropy(z, "
                    + "draw.Categorical(z), reduction: Reduction.None); }, or ask for Fisher.Empirical."
            );
    }

    private Tensor Call(ExampleBatch batch, LossKind kind)
    {
        var loss = Delegate(kind);
        try
        {
            return Run(loss, batch, kind)
                ?? throw new InfluenceException($"{Name(kind)} returned null; it returns one loss per example, [B].");
        }
        catch (InfluenceException exception) when (exception.BatchPositions.Count > 0)
        {
            var bad = exception.BatchPositions.Select(p => batch.Ids[p]).ToArray();
            throw new InfluenceException($"{exception.Message} Example ids: {InfluenceException.List(bad)}.", exception)
            {
                ExampleIds = bad,
            };
        }
        catch (Exception exception) when (exception is not (InfluenceException or OperationCanceledException or OutOfMemoryException))
        {
            var bad = FailAlone(batch, loss, kind);
            throw new InfluenceException(
                $"{Name(kind)} failed: {exception.Message.Split('\n')[0].TrimEnd('.')}. The batch held {batch.Describe()}; the model is "
                    + $"{dtype} on {device}.{OtherFloat(batch)}"
                    + (
                        bad.Length == 0 || bad.Length == batch.Count
                            ? string.Empty
                            : $" It fails for the examples with ids {InfluenceException.List(bad)}."
                    ),
                exception
            )
            {
                ExampleIds = bad.Length == batch.Count ? [] : bad,
            };
        }
    }

    private Tensor? Run(Func<ExampleBatch, Tensor> loss, ExampleBatch batch, LossKind kind)
    {
        using var callback = ModelInUse.CallingBack(Name(kind));
        return loss(batch);
    }

    /// <summary>The examples for which the loss fails on its own: which labels are out of range, for instance.</summary>
    private long[] FailAlone(ExampleBatch batch, Func<ExampleBatch, Tensor> loss, LossKind kind)
    {
        using var scope = NewDisposeScope();
        using var grad = no_grad();

        // In a training loop the model is in training mode: running statistics would move, and random numbers be drawn.
        using var evaluation = new EvaluationMode(task.Model);
        var bad = new List<long>();
        for (var i = 0; i < batch.Count; i++)
        {
            try
            {
                Run(loss, batch.Pick([i]), kind);
            }
            catch (Exception exception) when (exception is not OutOfMemoryException)
            {
                bad.Add(batch.Ids[i]);
            }
        }

        return [.. bad];
    }

    private void CheckBatch(ExampleBatch batch)
    {
        for (var k = 0; k < batch.Tensors.Count; k++)
        {
            var tensor = batch.Tensors[k];
            if (tensor.device.type != device.type || (device.index >= 0 && tensor.device.index >= 0 && tensor.device.index != device.index))
            {
                throw new InfluenceException(
                    $"The model is on {device}, but the examples' tensor \"{batch.Names[k]}\" is on {tensor.device}. "
                        + $"Move one of them: {batch.Names[k]}.to(\"{device}\"), or new DataLoader(..., device: ...)."
                );
            }
        }
    }

    /// <summary>The likely cause where a tensor is of another float type than the model: one that the delegate does not read, or converts,
    /// is its own business.</summary>
    private string OtherFloat(ExampleBatch batch) =>
        batch
            .Names.Zip(batch.Tensors)
            .Where(pair => pair.Second.is_floating_point() && pair.Second.dtype != dtype)
            .Select(pair => $" If \"{pair.First}\" is read by the model, convert it: {pair.First}.to_type(ScalarType.{dtype}).")
            .FirstOrDefault(string.Empty);

    private void CheckShape(Tensor losses, ExampleBatch batch, LossKind kind)
    {
        var shape = losses.shape;
        if (shape.Length == 1 && shape[0] == batch.Count && losses.is_floating_point())
        {
            return;
        }

        var found = shape.Length == 0 ? "a scalar (a sum or a mean)" : $"{losses.dtype} [{string.Join(", ", shape)}]";
        var fix = shape.Length == 0 ? "Write reduction: Reduction.None." : "Sum or average over everything but the first dimension.";
        throw new InfluenceException($"{Name(kind)} returns one loss per example, [B] = [{batch.Count}]; found {found}. {fix}");
    }
}
