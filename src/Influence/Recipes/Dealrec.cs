using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Scorers;
using TorchSharp;

namespace Influence.Recipes;

/// <summary>
/// Data pruning for fine-tuning a large model: the influence of removing an example, from a small surrogate, plus the effort
/// that the large model makes on it:
/// <code>score(i) = minmax(influence)(i) + lambda minmax(effort)(i)
/// influence(i) = (H^-1 mean over j of grad L(z_j))' grad L(z_i),   effort(i) = |grad_phi L_large(z_i)|</code>
/// where minmax moves a column to the range 0 to 1. High scores are worth most; select by them with
/// <c>Selection.CoverageSampling</c>, as the paper does.
/// </summary>
/// <remarks>
/// <para>
/// The influence is that of <see cref="InfluenceFunction"/> on the mean training loss of the surrogate, exact but for the
/// preconditioner: positive where removing the example would raise that loss. The effort is taken over the parameters that
/// the large model's task selects: LoRA's, by <c>Layers = LayerSelection.Where(n => n.Contains("lora"))</c>. A column of equal
/// values becomes zeros.
/// </para>
/// <para>
/// Reference: Lin et al., "Data-efficient Fine-tuning for LLM-based Recommendation" (DEALRec), SIGIR 2024. The released code
/// differs: it takes the inverse by LiSSA from single samples, does not divide by the scale in the end (which minmax undoes),
/// and looks at one dense weight of the surrogate's attention only; choose that by the surrogate task's <c>Layers</c> to do the same.
/// Cost: one influence call on the surrogate, and one forward and backward pass of the large model over the examples without
/// weight gradients.
/// </para>
/// </remarks>
public sealed record Dealrec
{
    /// <summary>lambda: how much effort counts beside influence.</summary>
    /// <value>0.5. The best value depends on the data: the paper searches for it.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double EffortWeight
    {
        get;
        init => field = Check.NotNegative(value);
    } = 0.5;

    /// <summary>Scores the examples by both models.</summary>
    /// <param name="surrogate">The small model, trained, and its training loss.</param>
    /// <param name="curvature">Fitted on the surrogate's task, by any method; it stays the caller's.</param>
    /// <param name="surrogateExamples">The N examples as the surrogate reads them.</param>
    /// <param name="large">The large model before its fine-tuning, its loss, and by <c>Layers</c> the parameters to tune.</param>
    /// <param name="largeExamples">The same examples, by id, as the large model reads them; in any order.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The scores and their two parts, in the surrogate's order of ids.</returns>
    /// <exception cref="InfluenceException">Bad input, or ids that are not the same in both.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; both models are as before.</exception>
    public Result Score(
        InfluenceTask surrogate,
        Preconditioner curvature,
        Examples surrogateExamples,
        InfluenceTask large,
        Examples largeExamples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(curvature);
        ExampleChecks.Run(surrogate, (surrogateExamples, "surrogate's examples"));
        ExampleChecks.Run(large, (largeExamples, "large model's examples"));
        CheckIds(surrogateExamples.Ids, largeExamples.Ids);
        var influence = Influence(surrogate, curvature, surrogateExamples, progress, cancellationToken);
        return Combine(influence, Effort(large, largeExamples, progress, cancellationToken));
    }

    /// <summary>The two parts' scores put together.</summary>
    /// <param name="influence">One number an example: <see cref="Influence"/>, or another method's.</param>
    /// <param name="effort">The same examples, by id: <see cref="Effort"/>.</param>
    /// <returns>The scores and their two parts, in the order of the first.</returns>
    /// <exception cref="InfluenceException">Other ids, or numbers that are not finite.</exception>
    public Result Combine(ExampleScores influence, ExampleScores effort)
    {
        ArgumentNullException.ThrowIfNull(influence);
        ArgumentNullException.ThrowIfNull(effort);
        CheckIds(influence.Ids, effort.Ids);
        var position = effort.Ids.Select((id, i) => (id, i)).ToDictionary(pair => pair.id, pair => pair.i);
        double[] efforts = [.. influence.Ids.Select(id => effort[position[id]])];
        var bad = influence.Ids.Where((_, i) => !double.IsFinite(influence[i]) || !double.IsFinite(efforts[i])).ToArray();
        if (bad.Length > 0)
        {
            throw new InfluenceException(
                $"Influence and effort are finite numbers; those of the examples with ids {InfluenceException.List(bad)} are not."
            )
            {
                ExampleIds = bad,
            };
        }

        var values = MinMax(influence.Values).Zip(MinMax(efforts), (a, b) => a + (EffortWeight * b)).ToArray();
        var scores = new ExampleScores(
            "DEALRec",
            influence.Ids,
            values,
            new ScoreMetadata
            {
                Estimator = string.Create(
                    CultureInfo.InvariantCulture,
                    $"DEALRec: influence + {EffortWeight:R} effort, each moved to the range 0 to 1"
                ),
                Sign = "high = worth training on",
                Unit = "none",
                Curvature = influence.Metadata.Curvature,
                Damping = influence.Metadata.Damping,
                Layers = $"surrogate: {influence.Metadata.Layers}; large model: {effort.Metadata.Layers}",
            }
        );
        return new Result(scores, influence, new ExampleScores(effort.Title, influence.Ids, efforts, effort.Metadata));
    }

    /// <summary>The influence of removing each example on the mean training loss, <c>gbar' (H + damping I)^-1 g_i</c>.</summary>
    /// <param name="surrogate">The model and its training loss; its measurement is not used.</param>
    /// <param name="curvature">Fitted on that task; it stays the caller's.</param>
    /// <param name="examples">The N examples that the mean is over.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One number an example; over N, the predicted rise of the mean training loss when it is left out.</returns>
    /// <exception cref="InfluenceException">Bad input; told before the first batch where possible.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static ExampleScores Influence(
        InfluenceTask surrogate,
        Preconditioner curvature,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(surrogate);
        using var scores = new InfluenceFunction(curvature) { Aggregation = InfluenceFunction.QueryAggregation.Mean, Tolerance = 0 }.Score(
            surrogate.ForTraining(surrogate.Layers),
            examples,
            examples,
            progress,
            cancellationToken
        );
        return new ExampleScores(
            "Influence of removal",
            examples.Ids,
            [.. scores.ForQuery(0).Values],
            scores.Metadata with
            {
                Sign = "positive = leaving the example out raises the mean training loss",
            }
        );
    }

    /// <summary>The norm of each example's loss gradient over the selected parameters: the effort of learning it.</summary>
    /// <param name="large">The model, its loss and, by <c>Layers</c>, the parameters.</param>
    /// <param name="examples">N examples.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One L2 norm an example.</returns>
    /// <exception cref="InfluenceException">Bad input; told before the first batch where possible.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static ExampleScores Effort(
        InfluenceTask large,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        var norms = new GraNd().Score(large, examples, progress, cancellationToken);
        return new ExampleScores(
            "Effort",
            norms.Ids,
            [.. norms.Values],
            norms.Metadata with
            {
                Estimator = "gradient norm",
                Sign = "high = the model would change much to learn the example",
                Unit = "norm of the loss gradient",
            }
        );
    }

    private static void CheckIds(IReadOnlyList<long> surrogate, IReadOnlyList<long> large)
    {
        long[] missing = [.. surrogate.Except(large)],
            foreign = [.. large.Except(surrogate)];
        if (missing.Length + foreign.Length > 0)
        {
            throw new InfluenceException(
                "Both models score the same examples, by id."
                    + (missing.Length == 0 ? string.Empty : $" The large model's lack {InfluenceException.List(missing)}.")
                    + (foreign.Length == 0 ? string.Empty : $" The surrogate's lack {InfluenceException.List(foreign)}.")
                    + " Write examples.Only(ids), or give both the same Ids."
            );
        }
    }

    /// <summary>Moved to the range 0 to 1; equal values become zeros.</summary>
    private static IEnumerable<double> MinMax(IReadOnlyList<double> values)
    {
        // In halves: the difference of two finite numbers may be infinite.
        var lowest = values.Min() / 2;
        var range = (values.Max() / 2) - lowest;
        return values.Select(value => range > 0 ? ((value / 2) - lowest) / range : 0);
    }

    /// <summary>What <see cref="Dealrec"/> found. Plain memory; nothing to dispose.</summary>
    /// <param name="Scores">The sum, to select by.</param>
    /// <param name="Influence">The surrogate's influence of removal, in its own unit.</param>
    /// <param name="Effort">The large model's gradient norms.</param>
    public sealed record Result(ExampleScores Scores, ExampleScores Influence, ExampleScores Effort);
}
