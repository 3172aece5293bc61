using Influence.Gradients;
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
/// dropout or batch statistics is in <see cref="Exactness"/>.</para>
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
    private readonly GradientSession _session;
    private readonly InfluenceTask _task;
    private bool? _deterministic;

    private TrainingGradients(InfluenceTask task, GradientSession session) =>
        (_task, _session, ValidationHessian) = (task, session, new LossHessian(session));

    /// <summary>Bytes that gradients of single examples may take where they are written out; memory and speed only.</summary>
    /// <value>512 MiB.</value>
    public long MemoryBudget
    {
        get;
        set => field = value > 0 ? value : throw new InfluenceException($"MemoryBudget is at least 1 byte, not {value}.");
    } = 512L << 20;

    /// <summary>
    /// Which parameters take part in the per-example values: those taken by a layer's rule. The others, here as "single examples"
    /// or "left out", are trained exactly all the same.
    /// </summary>
    public ParameterCoverage Coverage => _session.Coverage;

    /// <summary>What is exact in the model's present mode, module by module.</summary>
    public TrainingExactness Exactness => TrainingExactness.Of(_task.Model, _session);

    internal GradientSession Session => _session;

    internal InfluenceTask Task => _task;

    internal LossHessian ValidationHessian { get; }

    /// <summary>
    /// Hooks the model's layers and compares what they give with plain autograd on two examples, in evaluation mode, so that
    /// what cannot work fails here.
    /// </summary>
    /// <param name="task">The model, in any mode, and its losses. <see cref="InfluenceTask.TrainingLoss"/> is trained on; validation batches are measured by <see cref="InfluenceTask.Measurement"/>.</param>
    /// <param name="batch">Any training batch.</param>
    /// <param name="validation">Any validation batch, where there is to be one.</param>
    /// <returns>What makes steps. Dispose it after training: it takes its hooks off.</returns>
    /// <exception cref="InfluenceException">The model, the losses or the batches do not work; the message says why.</exception>
    public static TrainingGradients Open(InfluenceTask task, ExampleBatch batch, ExampleBatch? validation = null)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(batch);
        return new TrainingGradients(task, GradientSession.OpenForTraining(task, batch, validation));
    }

    /// <summary>
    /// Runs the batch forward and backward. Nothing is added to <c>.grad</c> yet: that is <see cref="TrainingStep.Accumulate(double)"/>.
    /// </summary>
    /// <param name="batch">The training batch; the model's mode is the loop's.</param>
    /// <param name="validation">
    /// Optional: examples whose mean measurement is to be lowered, for <see cref="TrainingStep.ValidationProducts"/>. They are
    /// run in evaluation mode: in one pass with the training batch where its shapes and the model's mode allow it, else in a pass of their own.
    /// </param>
    /// <returns>The step. Dispose it before the next: it keeps the batch's activations.</returns>
    /// <exception cref="InfluenceException">The losses are not <c>[B]</c>, or NaN or infinite (<see cref="InfluenceException.ExampleIds"/> says whose), or the model is no longer the one that was opened.</exception>
    /// <exception cref="ObjectDisposedException">This is disposed.</exception>
    public TrainingStep Step(ExampleBatch batch, ExampleBatch? validation = null)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        if (validation is null)
        {
            return new TrainingStep(this, _session.Pass(batch, LossKind.Training), batch.Count, null, null);
        }

        using var scope = NewDisposeScope();
        if (_task.Measurement is null && _session.Plain.Count == 0 && batch.Join(validation) is { } both && IsDeterministic(batch))
        {
            return new TrainingStep(this, _session.Pass(both, LossKind.Training), batch.Count, null, validation);
        }

        var train = _session.Pass(batch, LossKind.Training);
        try
        {
            using var evaluation = new EvaluationMode(_task.Model);
            return new TrainingStep(this, train, batch.Count, _session.Pass(validation, LossKind.Measurement), validation);
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

    /// <summary>
    /// Whether the model gives in training mode what it gives in evaluation mode. A model's own code may ask for its mode
    /// (functional dropout), so losses are compared, once; the random generator is left as it was.
    /// </summary>
    private bool IsDeterministic(ExampleBatch batch)
    {
        var modes = ModelParameter.Modules(_task.Model).Where(m => m.Module.training).ToList();
        if (modes.Count == 0)
        {
            return true;
        }

        if (modes.Any(m => ModelChecks.MixesOrIsRandom(m.Module)))
        {
            return false;
        }

        return _deterministic ??= Compare();

        bool Compare()
        {
            using var scope = NewDisposeScope();
            using var noGrad = no_grad();
            var state = torch.random.get_rng_state();
            var some = batch.Pick([.. Enumerable.Range(0, Math.Min(batch.Count, 8))]);
            var training = _session.Losses.Evaluate(some, LossKind.Training);           // [b]
            torch.random.set_rng_state(state);
            using var evaluation = new EvaluationMode(_task.Model);
            return training.eq(_session.Losses.Evaluate(some, LossKind.Training)).all().item<bool>();
        }
    }
}
