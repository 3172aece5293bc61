using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// Takes the place of <c>loss.backward()</c> in a training loop and gives, beside the same <c>.grad</c>, what is known of each
/// example: its loss, its gradient's norm, the product of its gradient with a validation batch's, and with every other
/// example's.
/// </summary>
/// <remarks>
/// <para>One forward pass, and one backward pass to the layers' outputs; the batch's weight gradients then are the same matrix
/// products that autograd makes, d'a over all examples and positions, and the per-example values come from the same d and a
/// ("ghost" norms and products: Goodfellow, Efficient Per-Example Gradient Computations, 2015; Wang et al., Data Shapley in One
/// Training Run, ICLR 2025). Between steps the model is as it was, so that a backward pass of your own works.</para>
/// <para><c>.grad</c> is exactly that of plain training, in every mode of the model. What the per-example values mean with
/// dropout or batch statistics is in <see cref="Exactness"/>. With batch statistics the pass's graph stays until the step is disposed,
/// because weights that differ between examples take a second backward pass through it.</para>
/// <para>The first step in each mode, and opening, run up to eight examples a few times more to find out what the mode does; running
/// statistics and the processor's random numbers are put back, a graphics card's random numbers are not.</para>
/// <para>Cost, in multiply-adds for B examples and P weights of linear layers with one position: a plain step takes about 3 B P, and so
/// does this; norms add B (I + O) a layer, products with V validation examples B V (I + O) and the validation examples' own 2 V P,
/// and the products of all pairs B^2 (I + O). With T positions single gradients are written out, at no more multiply-adds than the
/// batch's own gradient and B P numbers, where that is cheaper than T^2 (I + O) for each example. Parameters without a rule cost
/// what they cost in plain training. A sparse embedding's <c>.grad</c> is dense here.</para>
/// <para>The model stays the caller's; while a step runs no other thread may use it.</para>
/// </remarks>
/// <example>
/// <code>
/// using var loop = TrainingGradients.Open(task, firstBatch);
/// foreach (var batch in batches)
/// {
///     optimizer.zero_grad();
///     using var step = loop.Step(batch);      // in place of loss.backward()
///     step.Accumulate();
///     optimizer.step();
/// }
/// </code>
/// </example>
public sealed class TrainingGradients : IDisposable
{
    private readonly TrainingSession _session;
    private readonly InfluenceTask _task;
    private readonly ModeProbe _probe;

    private TrainingGradients(InfluenceTask task, TrainingSession session) =>
        (_task, _session, _probe, ValidationHessian) = (task, session, new ModeProbe(task, session), new LossHessian(session));

    /// <summary>Bytes that gradients of single examples may take where they are written out; memory and speed only.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; set; } = MemoryBudget.Default;

    /// <summary>
    /// Which parameters take part in the per-example values: those taken by a layer's rule. The others, here as "single examples"
    /// or "left out", are trained exactly all the same.
    /// </summary>
    public ParameterCoverage Coverage => _session.Coverage;

    /// <summary>What is exact in the model's present mode, module by module.</summary>
    public TrainingExactness Exactness => TrainingExactness.Of(_task.Model, _session, _probe.Known());

    internal TrainingSession Session => _session;

    internal InfluenceTask Task => _task;

    internal LossHessian ValidationHessian { get; }

    /// <summary>
    /// Hooks the model's layers and compares what they give with plain autograd on two examples, in evaluation mode, so that
    /// what cannot work fails here.
    /// </summary>
    /// <param name="task">The model, in any mode, and its losses. <see cref="InfluenceTask.TrainingLoss"/> is trained on; validation
    /// batches are measured by <see cref="InfluenceTask.Measurement"/>.</param>
    /// <param name="batch">Any training batch.</param>
    /// <param name="validation">Any validation batch, where there is to be one.</param>
    /// <returns>What makes steps. Dispose it after training: it takes its hooks off.</returns>
    /// <exception cref="InfluenceException">The model, the losses or the batches do not work; the message says why.</exception>
    public static TrainingGradients Open(InfluenceTask task, ExampleBatch batch, ExampleBatch? validation = null)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(batch);
        var loop = new TrainingGradients(task, TrainingSession.Open(task, batch, validation));
        try
        {
            // One example alone is no training batch: batch statistics may refuse it.
            if (batch.Count > 1)
            {
                loop._probe.Of(batch);
            }

            return loop;
        }
        catch
        {
            loop.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Runs the batch forward and backward. Nothing is added to <c>.grad</c> yet: that is <see cref="TrainingStep.Accumulate(double)"/>.
    /// </summary>
    /// <param name="batch">The training batch; the model's mode is the loop's.</param>
    /// <param name="validation">
    /// Optional: examples whose mean measurement is to be lowered, for <see cref="TrainingStep.ValidationProducts"/>. They are
    /// run in evaluation mode: in one pass with the training batch where its shapes and the model's mode allow it, else in a pass of their
    /// own.
    /// </param>
    /// <returns>The step. Dispose it before the next: it keeps the batch's activations.</returns>
    /// <exception cref="InfluenceException">The losses are not <c>[B]</c>, or NaN or infinite (<see cref="InfluenceException.ExampleIds"/>
    /// says whose), or the model is no longer the one that was opened.</exception>
    /// <exception cref="ObjectDisposedException">This is disposed.</exception>
    public TrainingStep Step(ExampleBatch batch, ExampleBatch? validation = null)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        ModeFacts mode;
        using (Spans.Of("mode"))
        {
            mode = _probe.Of(batch);
        }

        if (mode.WritesInPlace)
        {
            _session.CopyTaps();
        }

        if (validation is null)
        {
            return new TrainingStep(this, TrainPass(batch, mode), batch.Count, mode.Mixes, null, null);
        }

        if (JoinedPass(batch, validation, mode) is { } joined)
        {
            return new TrainingStep(this, joined, batch.Count, false, null, validation);
        }

        var train = TrainPass(batch, mode);
        try
        {
            using var evaluation = new EvaluationMode(_task.Model);
            return new TrainingStep(this, train, batch.Count, mode.Mixes, _session.Pass(validation, LossKind.Measurement), validation);
        }
        catch
        {
            train.Dispose();
            throw;
        }
    }

    /// <summary>Takes the hooks off; the model is as it was before. Steps that are still there can be used no more.</summary>
    public void Dispose()
    {
        if (!IsDisposed)
        {
            IsDisposed = true;
            _session.Dispose();
        }
    }

    internal bool IsDisposed { get; private set; }

    private CapturedPass TrainPass(ExampleBatch batch, ModeFacts mode) =>
        mode.Mixes ? _session.MixedPass(batch, LossKind.Training) : _session.Pass(batch, LossKind.Training);

    /// <summary>One pass over both batches where validation in it is what it is in evaluation mode; else null, and nothing was
    /// moved.</summary>
    private CapturedPass? JoinedPass(ExampleBatch batch, ExampleBatch validation, ModeFacts mode)
    {
        if (_task.Measurement is not null || _session.Plain.Count > 0 || !mode.IsDeterministic)
        {
            return null;
        }

        using var scope = NewDisposeScope();
        using var span = Spans.Of("training and validation joined");
        var training = ModelParameter.Modules(_task.Model).Any(m => m.Module.training);
        if ((training && _session.Device.type != DeviceType.CPU) || batch.Join(validation) is not { } both)
        {
            // A graphics card's random generator cannot be watched.
            return null;
        }

        if (!training)
        {
            return _session.Pass(both, LossKind.Training);
        }

        // A mode may become random later: a schedule of dropout that begins with none.
        var before = torch.random.get_rng_state();
        var pass = _session.Pass(both, LossKind.Training);
        if (torch.random.get_rng_state().eq(before).all().item<bool>())
        {
            return pass;
        }

        pass.Dispose();
        torch.random.set_rng_state(before);
        _probe.IsRandom();
        return null;
    }
}
