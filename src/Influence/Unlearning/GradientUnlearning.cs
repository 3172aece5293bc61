using System.Globalization;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Unlearning;

/// <summary>
/// Some more steps of training on another objective, over batches of the examples to keep (K) and to forget (F):
/// <code>minimise  a mean L over K  +  b mean L_F over F</code>
/// fine-tuning (a = 1, b = 0), gradient ascent (0, -1), gradient difference (1, -1), and relabelling (each set's share of all examples,
/// with L_F a loss on other labels). With <see cref="Saliency"/> only the weights that matter for the examples to forget move: relabelling
/// with SalUn's is that method.
/// </summary>
/// <remarks>
/// Ascent has no minimum: it ends at <see cref="ForgetLossLimit"/> or after <see cref="Steps"/>, and destroys the model where both are too
/// large. The steps are taken in evaluation mode. Cost: <see cref="Steps"/> forward and backward passes over a batch of each set that
/// counts. References: Graves et al., AAAI 2021 (relabelling); Thudi et al., EuroS&amp;P 2022 (ascent); Warnecke et al., NDSS 2023
/// (fine-tuning); Liu, Liu, Stone, 2022 (difference); Fan et al., ICLR 2024 (SalUn).
/// </remarks>
public sealed record GradientUnlearning : UnlearningMethod
{
    private readonly string _name;
    private readonly double _keepWeight;
    private readonly double _forgetWeight;
    private readonly Func<ExampleBatch, Tensor>? _forgetLoss;

    private GradientUnlearning(string name, double keepWeight, double forgetWeight, Func<ExampleBatch, Tensor>? forgetLoss = null) =>
        (_name, _keepWeight, _forgetWeight, _forgetLoss) = (name, keepWeight, forgetWeight, forgetLoss);

    /// <summary>More training on what is kept alone: what is forgotten fades, or not.</summary>
    public static GradientUnlearning FineTuning { get; } = new("fine-tuning", 1, 0);

    /// <summary>Raises the loss of what is to be forgotten.</summary>
    public static GradientUnlearning Ascent { get; } = new("gradient ascent", 0, -1);

    /// <summary>Raises the loss of what is to be forgotten and lowers that of what is kept.</summary>
    public static GradientUnlearning Difference { get; } = new("gradient difference", 1, -1);

    /// <summary>Trains the examples to forget on other labels, beside those to keep.</summary>
    /// <param name="forgetLoss">
    /// The loss on other labels, one value per example <c>[B]</c>: <c>b => Losses.CrossEntropy(model.call(b["x"]),
    /// GradientUnlearning.OtherLabels(b, "y", classes: 10))</c>.
    /// </param>
    /// <returns>The method.</returns>
    public static GradientUnlearning Relabelling(Func<ExampleBatch, Tensor> forgetLoss)
    {
        ArgumentNullException.ThrowIfNull(forgetLoss);
        return new GradientUnlearning("random labels", 1, 1, forgetLoss) { ByCount = true };
    }

    /// <inheritdoc/>
    public override string Name => Saliency is null ? _name : $"{_name}, {Saliency}";

    /// <summary>The number of optimizer steps.</summary>
    /// <value>100.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Steps
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 100;

    /// <summary>Examples of each set in a step; of a data loader its own batches.</summary>
    /// <value>64.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int BatchSize
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 64;

    /// <summary>The learning rate of SGD, where no <see cref="Optimizer"/> is given.</summary>
    /// <value>0.01.</value>
    /// <exception cref="InfluenceException">Not above 0.</exception>
    public double LearningRate
    {
        get;
        init => field = Check.Positive(value);
    } = 0.01;

    /// <summary>Makes an optimizer over the model's parameters, <c>model => torch.optim.Adam(model.parameters(), 1e-4)</c>; it is
    /// disposed.</summary>
    /// <value>Null: SGD.</value>
    public Func<nn.Module, optim.Optimizer>? Optimizer { get; init; }

    /// <summary>
    /// Whether a and b are multiplied by each set's share of all examples, as where one loader mixes both: a few examples with other labels
    /// then move the model as few do. Otherwise both sets weigh the same in every step, however few are to be forgotten.
    /// </summary>
    /// <value>True for <see cref="Relabelling"/>, as in SalUn's published code; false for the others.</value>
    public bool ByCount { get; init; }

    /// <summary>Which weights move.</summary>
    /// <value>Null: all.</value>
    public WeightSaliency? Saliency { get; init; }

    /// <summary>Steps end where the mean loss of a batch of the examples to forget has reached this; for ascent and difference.</summary>
    /// <value>Null: only the number of steps ends them.</value>
    /// <exception cref="InfluenceException">Not above 0.</exception>
    public double? ForgetLossLimit
    {
        get;
        init => field = Check.Positive(value);
    }

    /// <summary>Of the order of the batches.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>For each example a label other than its own, every other as likely, the same in every batch and epoch.</summary>
    /// <param name="batch">The batch.</param>
    /// <param name="labels">The name of its labels, int64 <c>[B]</c> from 0.</param>
    /// <param name="classes">The number of classes, 2 or more.</param>
    /// <param name="seed">Of the draw, beside the example's id.</param>
    /// <returns>int64 <c>[B]</c>, on the labels' device, in the current scope.</returns>
    /// <exception cref="InfluenceException">Fewer than two classes, or labels that are not int64 <c>[B]</c>.</exception>
    public static Tensor OtherLabels(ExampleBatch batch, string labels, int classes, long seed = 0)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(labels);
        var given = batch[labels];
        if (classes < 2 || given.dtype != ScalarType.Int64 || given.dim() != 1)
        {
            throw new InfluenceException(
                $"Other labels need two classes or more, and labels int64 [B]; found {classes} classes and "
                    + $"{given.dtype} [{string.Join(", ", given.shape)}]."
            );
        }

        var random = new KeyedRandom(seed, "other labels");
        var own = given.cpu().contiguous().data<long>().ToArray();
        long[] other = [.. own.Select((label, i) => (label + 1 + (long)(random.Of(batch.Ids[i]) % (ulong)(classes - 1))) % classes)];
        return tensor(other, device: given.device); // [B]
    }

    private protected override void Move(UnlearningRun run)
    {
        using var scope = NewDisposeScope();
        var mask = Saliency?.Mask(run);
        if (mask is not null)
        {
            run.Notes.Add(
                string.Create(CultureInfo.InvariantCulture, $"{mask.sum().cpu().item<long>():N0} of {mask.shape[0]:N0} parameters may move")
            );
        }

        using var keep = run.KeepBatches(BatchSize, Seed).GetEnumerator();
        using var forget = run.ForgetBatches(BatchSize, Seed).GetEnumerator();
        var taken = 0;
        double all = run.All.Count;
        var (keepWeight, forgetWeight) = ByCount
            ? (_keepWeight * run.Keep.Count / all, _forgetWeight * run.Forget.Count / all)
            : (_keepWeight, _forgetWeight);
        run.Descend(
            Optimizer,
            LearningRate,
            mask,
            Steps,
            step =>
            {
                Tensor? total = null;
                var examples = 0;
                if (_keepWeight != 0)
                {
                    keep.MoveNext();
                    total = run.Losses.Evaluate(keep.Current, LossKind.Training, finite: false).mean() * Kept(keepWeight);
                    examples += keep.Current.Count;
                }

                if (_forgetWeight != 0)
                {
                    forget.MoveNext();
                    var mean = (
                        _forgetLoss is null
                            ? run.Losses.Evaluate(forget.Current, LossKind.Training, finite: false)
                            : OwnLoss(forget.Current)
                    ).mean();
                    if (
                        ForgetLossLimit is { } limit
                        && _forgetWeight < 0
                        && mean.detach().to_type(ScalarType.Float64).cpu().item<double>() >= limit
                    )
                    {
                        return null;
                    }

                    total = total is null ? mean * Kept(forgetWeight) : total + (mean * Kept(forgetWeight));
                    examples += forget.Current.Count;
                }

                taken = step + 1;
                return (total!, examples);
            }
        );
        if (taken < Steps)
        {
            run.Notes.Add(string.Create(CultureInfo.InvariantCulture, $"ended after {taken} steps, at the limit of the forget loss"));
        }
    }

    private Tensor OwnLoss(ExampleBatch batch)
    {
        using var callback = ModelInUse.CallingBack("the loss of the examples to forget");
        var losses = _forgetLoss!(batch);
        return losses.dim() == 1 && losses.shape[0] == batch.Count
            ? losses
            : throw new InfluenceException(
                $"The loss of the examples to forget gives [{string.Join(", ", losses.shape)}] for {batch.Count} examples; expected "
                    + $"one value per example, [{batch.Count}]."
            );
    }
}
