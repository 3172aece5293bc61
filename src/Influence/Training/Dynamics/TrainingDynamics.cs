using Influence.Display;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// Records what a training run shows of each example on the way, for scores that need no gradients: EL2N, forgetting events,
/// Dataset Cartography, area under the margin, losses. One line in the loop:
/// <code>
/// using var dynamics = new TrainingDynamics();
/// ...
/// var logits = model.call(x);
/// dynamics.Record(ids, logits, y);       // after the forward pass; then the loss, backward and the optimizer as before
/// ...
/// dynamics.Cartography(1..); dynamics.AreaUnderMargin(..10); dynamics.El2n(..5);
/// </code>
/// </summary>
/// <remarks>
/// <para>
/// A presentation is one time that an example is in a batch; the k-th presentation of an example stands for its k-th epoch,
/// so nobody has to say where an epoch ends. The example is seen as the training step sees it: with dropout and batch norm in
/// training mode and augmented if it was, from the weights before the step.
/// </para>
/// <para>
/// Each score takes a range of presentations, counted from 0 for each example by itself: <c>..10</c> the first ten, <c>1..</c> all
/// but the first, <c>^1..</c> the last; all of them where none is given. An example that came less often takes part with what it
/// has, one that has none in the range is left out, and <see cref="ScoreMetadata.Notes"/> says how many of each there are. A
/// range beyond what any example has is refused.
/// </para>
/// <para>
/// Of each presentation the probability of the label, the margin u_y - max_{j != y} u_j of the logits u, the loss, EL2N and
/// whether the label has the highest logit (a tie counts as wrong) are kept: 21 bytes, beside some 65 bytes an example; one
/// million examples over ten epochs take 275 MB. For outputs at several positions, as a language model's, each is the mean over
/// the positions that count, softmax by softmax; there is no standard for that.
/// </para>
/// <para>
/// Cost: a pass over the logits. Logits on another device are measured there, and the results (24 bytes an example) are fetched
/// every <see cref="FetchEverySteps"/> steps and when they are asked for: a step never waits. What is wrong with such a batch's
/// labels or logits is found at that time, and thrown once everything that is right is kept.
/// </para>
/// </remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed partial class TrainingDynamics : IDisplay, IDisposable
{
    // Where a plain loop is quicker than the tensor operations, measured on one core: for few classes at any batch, and for small
    // batches, as each of the operations costs several microseconds at least.
    private const long FewClasses = 32;
    private const long FewLogits = 32768;

    private readonly List<long> _ids = [];
    private readonly Dictionary<long, int> _numbers = [];
    private readonly PresentationLog _log = new();
    private readonly GradientNormLog _norms = new();
    private readonly Queue<Waiting> _waiting = new();
    private readonly OutputMeasures _measures = new();
    private int _waitingSteps;
    private bool _disposed;

    /// <summary>The label of positions that do not count.</summary>
    /// <value>-100, as for the cross-entropy of TorchSharp.</value>
    public long IgnoredLabel { get; init; } = -100;

    /// <summary>
    /// With several positions an example: the share of them whose label must have the highest logit for the example to count as
    /// correct.
    /// </summary>
    /// <value>1: all of them.</value>
    /// <exception cref="InfluenceException">Not above 0, or above 1.</exception>
    public double CorrectShare
    {
        get;
        init => field = Check.PositiveShare(value);
    } = 1;

    /// <summary>How many steps of logits on another device may wait there, measured, before they are fetched.</summary>
    /// <value>100.</value>
    /// <exception cref="InfluenceException">Below 1.</exception>
    public int FetchEverySteps
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 100;

    /// <summary>The number of classes, C; 0 before the first step.</summary>
    public long Classes { get; private set; }

    /// <summary>Steps recorded so far.</summary>
    public long StepCount => _log.Steps + _waitingSteps;

    /// <summary>Presentations recorded so far.</summary>
    public long PresentationCount
    {
        get
        {
            Fetch();
            return _log.Count;
        }
    }

    /// <summary>Examples seen so far.</summary>
    public int ExampleCount
    {
        get
        {
            Fetch();
            return _ids.Count;
        }
    }

    /// <summary>Presentations of which no position counted, and which were therefore not recorded.</summary>
    public long EmptyPresentations
    {
        get
        {
            Fetch();
            return _log.Empty;
        }
    }

    /// <summary>For tests: treat every batch as one on another device.</summary>
    internal bool AlwaysWait { get; init; }

    /// <summary>Records a step. Call it after the forward pass; the logits' graph is left alone.</summary>
    /// <param name="ids">
    /// The examples' ids, one for each row of the logits; an id that is there twice has two presentations. From a tensor of the
    /// data set: <c>batch["id"].data&lt;long&gt;().ToArray()</c>.
    /// </param>
    /// <param name="logits">Before the softmax: <c>[B, C]</c>, or <c>[B, ..., C]</c> for outputs at several positions.</param>
    /// <param name="labels">int64 class indices, <c>[B]</c> or <c>[B, ...]</c>; for a language model already shifted.</param>
    /// <param name="mask">Optional, the shape of the labels: positions that are zero (false) do not count.</param>
    /// <exception cref="InfluenceException">
    /// Shapes, dtypes or ids that do not fit, labels out of range, logits that are not finite, or another number of classes than
    /// before: nothing of the step is recorded then. Or labels or logits of an earlier step that waited on another device; this step is
    /// recorded then.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public void Record(IReadOnlyList<long> ids, Tensor logits, Tensor labels, Tensor? mask = null)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var batch = Batch(ids);
        StepChecks.Run(batch, logits, labels, mask, Classes);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var (classes, positions) = (logits.shape[^1], labels.numel() / batch.Length);
        var here = logits.device_type == DeviceType.CPU && !AlwaysWait;
        Classes = Classes == 0 && !here ? classes : Classes;
        if (here && (classes <= FewClasses || logits.numel() <= FewLogits))
        {
            Finish(
                FetchAll(),
                () =>
                {
                    Measure(logits, labels, mask, batch.Length);
                    Keep(batch, classes);
                }
            );
            return;
        }

        var packed = OutputTensors.Measure(
            logits.detach().reshape(batch.Length, positions, classes),
            labels.detach().to(logits.device).reshape(batch.Length, positions),
            mask?.detach().to(logits.device).reshape(batch.Length, positions),
            IgnoredLabel
        ); // [6, B]
        if (here)
        {
            Finish(
                FetchAll(),
                () =>
                {
                    OutputTensors.Unpack(packed, _measures);
                    Keep(batch, classes);
                }
            );
            return;
        }

        Wait(new Waiting([.. batch], scope.Detach(packed), IsStep: true));
    }

    /// <summary>
    /// Records each example's gradient norm in a step, from wherever it is known; <see cref="Grand"/> is their mean. Call it after
    /// <see cref="Record"/> of the same step, where that is called too.
    /// </summary>
    /// <param name="ids">The examples' ids; one may be there twice.</param>
    /// <param name="norms">The norm ||grad l(x)|| of each example's own loss (not divided by the batch size), floating point
    /// <c>[B]</c>.</param>
    /// <exception cref="InfluenceException">
    /// Ids that do not fit, norms that are negative or no numbers: nothing of the call is recorded then, and norms on another device are
    /// looked at when they are fetched. Or what was wrong with an earlier call that waited.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public void RecordGradientNorms(IReadOnlyList<long> ids, Tensor norms)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentNullException.ThrowIfNull(norms);
        var batch = Batch(ids);
        StepChecks.RunNorms(batch, norms);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        if (norms.device_type != DeviceType.CPU || AlwaysWait)
        {
            Wait(new Waiting([.. batch], scope.Detach(norms.detach().clone()), IsStep: false));
            return;
        }

        Finish(FetchAll(), () => KeepNorms(batch, norms));
    }

    /// <summary>Releases what still waits on another device. Save or read the scores first.</summary>
    public void Dispose()
    {
        _disposed = true;
        while (_waiting.TryDequeue(out var waiting))
        {
            waiting.Values.Dispose();
        }
    }
}
