using System.Globalization;
using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// In-run data values: what each example did to the validation loss in the steps in which it was trained on, summed over the
/// run. Positive: the example lowered it.
/// </summary>
/// <remarks>
/// <para>A step moves the weights by -sum over i of w_i u_i with u_i = eta D^-1 g_i, and w_i what the loop accumulated (1/B for the mean of
/// B losses). First order: s_i = w_i g_val . u_i. Second order: s_i = w_i (g_val . u_i - u_i' H_val sum over j of w_j u_j / 2), the Shapley
/// value of the change of a quadratic validation loss, to which the values then sum exactly. g_val and H_val are of the mean measurement
/// over the step's validation batch, in evaluation mode. Reference: Wang, Mittal, Song and Jia, Data Shapley in One Training Run (ICLR
/// 2025), equations for first and second order; the sign here is the other one.</para>
/// <para>From the optimizer: SGD gives D = 1 and, with momentum beta, eta (1 - dampening)/(1 - beta), which is what a gradient
/// moves in all by way of the momentum, as if the validation gradient stayed the same meanwhile. Adam and AdamW give
/// D = sqrt(v/(1 - beta2^t)) + eps with the v that the step to come divides by, which the accumulated gradient is part of; D is taken as
/// given, though an example's gradient has a part in it. So .grad must be whole: with gradient accumulation accumulate all parts,
/// keep their steps, and then add each. The paper takes Adam's step as that of SGD:
/// <see cref="Add(TrainingStep, double)"/> does too. Weight decay is no example's doing and counts for nobody.</para>
/// <para>Gradients are those over the parameters with a layer rule (<see cref="TrainingGradients.Coverage"/>; the scores' metadata has the
/// share). Second order takes a Hessian-vector product and gradients of products with all weights: about twice a plain step.</para>
/// <para>With gradient accumulation first order is as of one large batch (with Adam as said above); second order counts interactions within
/// each <see cref="TrainingStep"/>.</para>
/// </remarks>
/// <example>
/// <code>
/// using var step = loop.Step(batch, validation);
/// step.Accumulate();
/// values.Add(step, optimizer);        // before optimizer.step()
/// optimizer.step();
/// </code>
/// </example>
public sealed class InRunValues
{
    private const string Format = "influence.in_run_values";

    private readonly Dictionary<long, (double Value, long Seen)> _values = [];
    private double _coverage = 1;
    private bool _mixed;
    private string _integrity = string.Empty;

    // Tells an earlier state of this run from another run, in whose file nothing of this one may go.
    private string _run = Guid.NewGuid().ToString("N");

    /// <summary>First or second order.</summary>
    /// <value><see cref="InRunValues.Expansion.First"/>.</value>
    public Expansion Order
    {
        get;
        init => field = Check.Defined(value);
    } = Expansion.First;

    /// <summary>Steps added so far; with gradient accumulation each part counts.</summary>
    public long Steps { get; private set; }

    /// <summary>The examples seen so far.</summary>
    public int Count => _values.Count;

    /// <summary>Adds a step's values, with the rates of an optimizer. Call it after <c>Accumulate</c> and before
    /// <c>optimizer.step()</c>.</summary>
    /// <param name="step">A step with a validation batch.</param>
    /// <param name="optimizer">SGD, Adam or AdamW over the model's parameters.</param>
    /// <exception cref="InfluenceException">No validation batch, nothing accumulated, another optimizer or another model's, no parameter
    /// with a layer rule, or values that are not finite; nothing was added.</exception>
    /// <exception cref="ObjectDisposedException">The step is disposed.</exception>
    public void Add(TrainingStep step, optim.Optimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(step);
        ArgumentNullException.ThrowIfNull(optimizer);
        using var scope = NewDisposeScope();
        Add(step, UpdateScale.Of(optimizer, step.Loop.Session));
    }

    /// <summary>Adds a step's values as if the weights moved by -learningRate times the accumulated gradient.</summary>
    /// <param name="step">A step with a validation batch.</param>
    /// <param name="learningRate">eta.</param>
    /// <exception cref="InfluenceException">No validation batch, nothing accumulated, no parameter with a layer rule, a rate that is
    /// negative or not finite, or values that are not finite; nothing was added.</exception>
    /// <exception cref="ObjectDisposedException">The step is disposed.</exception>
    public void Add(TrainingStep step, double learningRate)
    {
        ArgumentNullException.ThrowIfNull(step);
        using var scope = NewDisposeScope();
        Add(step, UpdateScale.Of(learningRate));
    }

    /// <summary>The sum over the run for every example seen, in the order in which they were seen first.</summary>
    /// <returns>The values; positive: the example lowered the validation measurement.</returns>
    public ExampleScores Scores() =>
        Result(
            "In-run data values",
            "change of the validation measurement, summed over the steps with the example, sign reversed",
            v => v.Value
        );

    /// <summary>The mean over the steps in which an example was seen: comparable between examples that were drawn more and less
    /// often.</summary>
    /// <returns>The means.</returns>
    public ExampleScores MeanScores() =>
        Result(
            "In-run data values, mean of a step",
            "change of the validation measurement in a step with the example, sign reversed",
            v => v.Value / v.Seen
        );

    /// <summary>How often an example was trained on, with whatever weight; 0 for one that was never in a batch.</summary>
    /// <param name="id">The example's id.</param>
    public long TimesSeen(long id) => _values.GetValueOrDefault(id).Seen;

    /// <summary>Forgets everything, for values of the next stretch of the run alone.</summary>
    public void Clear()
    {
        _values.Clear();
        Steps = 0;
        _mixed = false;
        _integrity = string.Empty;
    }

    /// <summary>
    /// Writes the state, whole or not at all, so that a run that is restarted can go on. A file of an earlier state of this run is
    /// replaced. It holds sums, of which later steps cannot be taken out again: save it with every checkpoint that the training may go on
    /// from, under a name of its own.
    /// </summary>
    /// <param name="path">The file, ending in <c>.safetensors</c>.</param>
    /// <exception cref="InfluenceException">Another ending, a file of another run, or it cannot be written; nothing was
    /// changed.</exception>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        Safetensors.CheckName(path);
        if (File.Exists(path) && Safetensors.LoadMetadata(path).GetValueOrDefault("run") != _run)
        {
            throw new InfluenceException(
                $"{path} holds something else than an earlier state of this run. Write InRunValues.Load(path) to go on with the run in "
                    + "it, choose another name, or delete it."
            );
        }

        using var scope = NewDisposeScope();
        Safetensors.Save(
            path,
            [
                ("ids", tensor(_values.Keys.ToArray())),
                ("values", tensor(_values.Values.Select(v => v.Value).ToArray())),
                ("seen", tensor(_values.Values.Select(v => v.Seen).ToArray())),
            ],
            new Dictionary<string, string>
            {
                ["format"] = Format,
                ["run"] = _run,
                ["order"] = Order.ToString(),
                ["steps"] = Steps.ToString(CultureInfo.InvariantCulture),
                ["coverage"] = _coverage.ToString("R", CultureInfo.InvariantCulture),
                ["mixed"] = _mixed.ToString(),
            }
        );
    }

    /// <summary>Reads what <see cref="Save"/> wrote; adding goes on from there, to the same sums as without the interruption.</summary>
    /// <param name="path">The file.</param>
    /// <param name="steps">
    /// <see cref="Steps"/> as it was at the checkpoint that the training goes on from; another number in the file is refused, as steps
    /// would be counted twice or be missing. Null: not checked.
    /// </param>
    /// <returns>The values.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated or something else, or of another step.</exception>
    public static InRunValues Load(string path, long? steps = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        using var file = SafetensorsFile.Open(path);
        var (tensors, metadata) = (file.ReadAll(), file.Metadata);
        if (
            metadata.GetValueOrDefault("format") != Format
            || !Enum.TryParse<InRunValues.Expansion>(metadata.GetValueOrDefault("order"), out var order)
            || !Enum.IsDefined(order)
            || metadata.GetValueOrDefault("run") is not { Length: > 0 } run
            || !long.TryParse(metadata.GetValueOrDefault("steps"), NumberStyles.None, CultureInfo.InvariantCulture, out var added)
            || !double.TryParse(metadata.GetValueOrDefault("coverage"), NumberStyles.Float, CultureInfo.InvariantCulture, out var coverage)
            || !(coverage is >= 0 and <= 1)
            || !(
                Column("ids", ScalarType.Int64) is { } ids
                && Column("values", ScalarType.Float64) is { } values
                && Column("seen", ScalarType.Int64) is { } seen
            )
            || ids.numel() != values.numel()
            || ids.numel() != seen.numel()
        )
        {
            throw new InfluenceException(
                $"{path} holds no in-run values as InRunValues.Save writes them; it holds "
                    + $"{InfluenceException.List([.. tensors.Keys])}."
            );
        }

        if (steps is { } expected && expected != added)
        {
            throw new InfluenceException(
                $"{path} holds the values of {added} steps; the training goes on from {expected}, so steps would be "
                    + $"{(added > expected ? "counted twice" : "missing")}. Save the values with each checkpoint, under a name of its "
                    + "own, and load those of the checkpoint."
            );
        }

        var result = new InRunValues
        {
            Order = order,
            Steps = added,
            _coverage = coverage,
            _run = run,
            _integrity = file.Integrity,
            _mixed = metadata.GetValueOrDefault("mixed") == bool.TrueString,
        };
        var (list, sums, times) = (ids.data<long>().ToArray(), values.data<double>().ToArray(), seen.data<long>().ToArray());
        for (var i = 0; i < list.Length; i++)
        {
            if (!result._values.TryAdd(list[i], (sums[i], times[i])) || !double.IsFinite(sums[i]) || times[i] < 1)
            {
                throw new InfluenceException(
                    $"{path} is damaged: example {list[i]} is there twice, or has a value that is not finite, or "
                        + $"was seen {times[i]} times."
                );
            }
        }

        return result;

        Tensor? Column(string name, ScalarType type) =>
            tensors.GetValueOrDefault(name) is { } found && found.dtype == type && found.dim() == 1 ? found : null;
    }

    private void Add(TrainingStep step, UpdateScale scale)
    {
        if (step.ValidationBatch is null)
        {
            throw new InfluenceException("In-run values need a validation batch: write loop.Step(batch, validation).");
        }

        if (step.Weights.All(w => w == 0))
        {
            throw new InfluenceException(
                "Nothing of this step was accumulated yet, so no example did anything: call step.Accumulate() first."
            );
        }

        step.CheckHasRules();
        using var noGrad = no_grad();
        var products =
            Order == Expansion.First && scale.Uniform is { } rate
                ? step.ValidationProducts() * Kept(rate)
                : step.ProductsWith(Direction(step, scale)); // [B]
        var values = products.cpu().to_type(ScalarType.Float64).data<double>().ToArray();
        long[] bad = [.. step.Ids.Where((_, i) => step.Weights[i] != 0 && !double.IsFinite(values[i]))];
        if (bad.Length > 0)
        {
            throw new InfluenceException(
                $"The in-run values of the examples with ids {InfluenceException.List(bad)} are NaN or too large for {products.dtype}, "
                    + "though the losses are finite. Look at their inputs, or at the validation batch's."
            )
            {
                ExampleIds = bad,
            };
        }

        for (var i = 0; i < values.Length; i++)
        {
            if (step.Weights[i] != 0)
            {
                var (sum, seen) = _values.GetValueOrDefault(step.Ids[i]);
                _values[step.Ids[i]] = (sum + (step.Weights[i] * values[i]), seen + 1);
            }
        }

        var coverage = step.Loop.Coverage;
        _coverage = coverage.Total == 0 ? 0 : coverage.ByRule / (double)coverage.Total;
        _mixed |= step.Mixes;
        Steps++;
    }

    /// <summary>P (g_val - H_val P g / 2), P = eta D^-1, g the accumulated gradient: its product with g_i is the example's value over its
    /// weight.</summary>
    private Tensor[]?[] Direction(TrainingStep step, UpdateScale scale)
    {
        var direction = step.ValidationGradient();
        if (Order == Expansion.Second)
        {
            var kind = step.Loop.Task.Measurement is null ? LossKind.Training : LossKind.Measurement;
            var curved = step.Loop.ValidationHessian.Product(step.ValidationBatch!, kind, Scaled(step.AccumulatedGradient()));
            for (var k = 0; k < direction.Length; k++)
            {
                direction[k] = direction[k] is { } own
                    ? [.. own.Zip(curved[k]!, (g, h) => g.add_(h, alpha: Kept(-0.5)))]
                    : [.. curved[k]!.Select(h => h * Kept(-0.5))];
            }
        }

        return Scaled(direction);

        Tensor[]?[] Scaled(Tensor[]?[] parts) =>
            [.. parts.Select((block, k) => block?.Select((v, p) => scale.Apply(step.Loop.Session.Blocks[k].Parts[p], v)).ToArray())];
    }

    private ExampleScores Result(string title, string unit, Func<(double Value, long Seen), double> value) =>
        new(
            title,
            [.. _values.Keys],
            [.. _values.Values.Select(value)],
            new ScoreMetadata
            {
                Estimator = title,
                Checkpoints = string.Create(CultureInfo.InvariantCulture, $"{Steps} steps of the run itself"),
                Sign = "positive = proponent: training on the example lowered the validation measurement",
                Unit = unit,
                Coverage = _coverage,
                Integrity = _integrity,
                Notes =
                    (Order == InRunValues.Expansion.First ? "first order" : "second order: with interactions within a batch")
                    + (_mixed ? "; the model mixed the examples of a batch: rows hold parts of other examples' losses" : string.Empty),
            }
        );

    /// <summary>How far the change of the validation loss is expanded.</summary>
    public enum Expansion
    {
        /// <summary>Linear: no cost beyond the validation batch's own pass.</summary>
        First,

        /// <summary>With the interaction of the batch's examples: one Hessian-vector product over the validation batch for each
        /// step.</summary>
        Second,
    }
}
