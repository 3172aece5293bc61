using Influence.Numerics;
using MathNet.Numerics.Statistics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Evaluation;

/// <summary>
/// Whether a model that unlearned some examples is like one that never saw them: losses of the forgotten, the kept and of unseen examples,
/// what a membership attack still finds, the distance of margins from those of retrained models (KLoM), how soon it relearns, and what it
/// cost.
/// </summary>
/// <remarks>
/// <para>
/// Several models that unlearned (of several seeds) are compared with several that were retrained without the examples, as
/// <see cref="Retraining"/> makes them. The membership attack guesses from the loss: the area under its ROC curve for forgotten against
/// unseen examples, one half where they cannot be told apart. It only means that where the unseen examples are of the same kind, the peers;
/// beside a retrained model's it always says something.
/// </para>
/// <para>
/// KLoM (Georgiev et al., 2025, section 2): for each example the divergence of the unlearned models' margins from the retrained ones', of
/// which the 95th percentile over examples is reported. The margin log p/(1-p) follows from a cross-entropy l as -log(exp(l) - 1), clipped
/// at 100 in magnitude. The paper has histograms of 100 models; here a normal distribution is fitted to the few there are,
/// <code>KL = log(s_r / s_u) + (s_u^2 + (m_u - m_r)^2) / (2 s_r^2) - 1/2</code>
/// with standard deviations of at least <see cref="LeastDeviation"/>. With few models it is far from zero even between retrained models:
/// put other retrained ones into the table as a row of their own.
/// </para>
/// </remarks>
public sealed partial record UnlearningTest
{
    private const double LargestMargin = 100;

    /// <summary>How intervals are made: over examples.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>The least standard deviation of a margin over models in KLoM.</summary>
    /// <value>0.1.</value>
    /// <exception cref="InfluenceException">Not above 0.</exception>
    public double LeastDeviation
    {
        get;
        init => field = Check.Positive(value);
    } = 0.1;

    /// <summary>The losses of one model: those that it has now.</summary>
    /// <param name="task">The model, with the weights to judge; its training loss is taken.</param>
    /// <param name="forget">The forgotten examples.</param>
    /// <param name="keep">Examples that were kept, or a sample of them.</param>
    /// <param name="test">Unseen examples.</param>
    /// <param name="peers">
    /// Unseen examples of the forgotten ones' kind (the same class, labels that are wrong alike), from which the membership attack tells
    /// them; null: <paramref name="test"/>.
    /// </param>
    /// <returns>The losses.</returns>
    /// <exception cref="InfluenceException">No examples, or a loss of another shape than one value an example.</exception>
    public static ModelLosses Measure(InfluenceTask task, Examples forget, Examples keep, Examples test, Examples? peers = null)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(forget);
        ArgumentNullException.ThrowIfNull(keep);
        ArgumentNullException.ThrowIfNull(test);
        InfluenceException.ThrowIfAny([
            .. forget.Problems("examples to forget"),
            .. keep.Problems("examples to keep"),
            .. test.Problems("unseen examples"),
        ]);
        using var claim = ModelInUse.Claim(task.Model);
        return ModelLosses.Of(
            MeasuredLosses.Of(task.TrainingLoss, forget),
            MeasuredLosses.Of(task.TrainingLoss, keep),
            MeasuredLosses.Of(task.TrainingLoss, test),
            peers is null ? null : MeasuredLosses.Of(task.TrainingLoss, peers)
        );
    }

    /// <summary>
    /// How many optimizer steps over batches of the forgotten examples bring their mean loss down to a value: few where they are still
    /// known beneath. The weights are put back.
    /// </summary>
    /// <param name="task">The model, with the weights to judge.</param>
    /// <param name="forget">The forgotten examples; their batches are taken in order.</param>
    /// <param name="loss">The mean loss to reach, as the model had before it unlearned.</param>
    /// <param name="optimizer">Makes the optimizer; it is disposed.</param>
    /// <param name="maximumSteps">After so many it is given up.</param>
    /// <param name="cancellationToken">Checked before each step.</param>
    /// <returns>The number of steps, 0 where the loss is there already; null where it was not reached.</returns>
    /// <exception cref="InfluenceException">A loss of another shape than one value an example, or an optimizer that is used
    /// elsewhere.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static int? RelearningSteps(
        InfluenceTask task,
        Examples forget,
        double loss,
        Func<nn.Module, optim.Optimizer> optimizer,
        int maximumSteps = 100,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(forget);
        ArgumentNullException.ThrowIfNull(optimizer);
        InfluenceException.ThrowIfAny([.. forget.Problems("examples to forget")]);
        using var whole = NewDisposeScope();
        using var kept = new KeptState(task.Model);
        ProbeStep.Check(task.Model, optimizer);
        if (MeasuredLosses.Of(task.TrainingLoss, forget).Average(pair => pair.Loss) <= loss)
        {
            return 0;
        }

        using var made = optimizer(task.Model);
        var step = 0;
        while (step < maximumSteps)
        {
            foreach (var batch in forget.Batches())
            {
                cancellationToken.ThrowIfCancellationRequested();
                using (NewDisposeScope())
                {
                    using var grad = enable_grad();
                    kept.ClearGradients();
                    GuardedBackward.Accumulate(MeasuredLosses.Checked(task.TrainingLoss(batch), batch).mean());
                    made.step();
                }

                step++;
                if (MeasuredLosses.Of(task.TrainingLoss, forget).Average(pair => pair.Loss) <= loss)
                {
                    return step;
                }

                if (step == maximumSteps)
                {
                    return null;
                }
            }
        }

        return null;
    }

    /// <summary>Compares models that unlearned with models that were retrained.</summary>
    /// <param name="method">What the row is called.</param>
    /// <param name="unlearned">The models' losses, one entry a model.</param>
    /// <param name="retrained">Those of models that were trained without the examples.</param>
    /// <param name="relearning">Steps to relearn, one a model, null where it was given up; optional.</param>
    /// <param name="cost">What unlearning took, one entry a model; optional.</param>
    /// <returns>The row.</returns>
    /// <exception cref="InfluenceException">No models, or models that were measured on other examples.</exception>
    public Row Compare(
        string method,
        IReadOnlyList<ModelLosses> unlearned,
        IReadOnlyList<ModelLosses> retrained,
        IReadOnlyList<int?>? relearning = null,
        IReadOnlyList<TimeSpan>? cost = null
    )
    {
        ArgumentNullException.ThrowIfNull(method);
        ArgumentNullException.ThrowIfNull(unlearned);
        ArgumentNullException.ThrowIfNull(retrained);
        if (unlearned.Count == 0 || retrained.Count == 0 || unlearned.Concat(retrained).Any(model => !model.HasSameIds(unlearned[0])))
        {
            throw new InfluenceException(
                "At least one model on each side is compared, all measured on the same examples in the same order; found "
                    + $"{unlearned.Count} that unlearned and {retrained.Count} retrained."
            );
        }

        return new Row(method, unlearned.Count, retrained.Count)
        {
            ForgetLoss = Mean("forgotten", unlearned, model => model.Forget),
            KeepLoss = Mean("kept", unlearned, model => model.Keep),
            TestLoss = Mean("unseen", unlearned, model => model.Test),
            MembershipAuc = Membership(unlearned),
            ForgetKlom = Klom("forgotten", unlearned, retrained, model => model.Forget),
            KeepKlom = Klom("kept", unlearned, retrained, model => model.Keep),
            TestKlom = Klom("unseen", unlearned, retrained, model => model.Test),
            RelearningSteps = relearning is null ? [] : [.. relearning],
            Cost = cost is null or { Count: 0 } ? null : TimeSpan.FromSeconds(cost.Average(time => time.TotalSeconds)),
        };
    }

    /// <summary>The margin log p/(1-p) of a cross-entropy -log p.</summary>
    internal static double Margin(double loss) =>
        Math.Clamp(loss > 30 ? -loss : -Math.Log(Math.Max(double.Exp(loss) - 1, loss)), -LargestMargin, LargestMargin);

    /// <summary>The divergence of two normal distributions fitted to values; NaN for fewer than two of either.</summary>
    internal double Divergence(IReadOnlyList<double> unlearned, IReadOnlyList<double> retrained)
    {
        if (unlearned.Count < 2 || retrained.Count < 2)
        {
            return double.NaN;
        }

        var (mu, su) = Normal(unlearned);
        var (mr, sr) = Normal(retrained);
        return Math.Log(sr / su) + (((su * su) + ((mu - mr) * (mu - mr))) / (2 * sr * sr)) - 0.5;
    }

    private (double Mean, double Deviation) Normal(IReadOnlyList<double> values)
    {
        var mean = values.Average();
        return (mean, Math.Max(LeastDeviation, Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Count - 1))));
    }

    private Estimate Mean(string purpose, IReadOnlyList<ModelLosses> models, Func<ModelLosses, IReadOnlyList<double>> of) =>
        Bootstrap.Mean(purpose, [.. Enumerable.Range(0, of(models[0]).Count).Select(i => models.Average(model => of(model)[i]))]);

    private Estimate Klom(
        string purpose,
        IReadOnlyList<ModelLosses> unlearned,
        IReadOnlyList<ModelLosses> retrained,
        Func<ModelLosses, IReadOnlyList<double>> of
    )
    {
        double[] each =
        [
            .. Enumerable
                .Range(0, of(unlearned[0]).Count)
                .Select(i =>
                    Divergence([.. unlearned.Select(model => Margin(of(model)[i]))], [.. retrained.Select(model => Margin(of(model)[i]))])
                ),
        ];
        return each.Any(double.IsNaN)
            ? new Estimate(double.NaN, double.NaN, double.NaN)
            : Bootstrap.Of(
                $"divergence, {purpose}",
                each.Quantile(0.95),
                random => Enumerable.Range(0, each.Length).Select(_ => each[random.Below(each.Length)]).Quantile(0.95)
            );
    }

    private Estimate Membership(IReadOnlyList<ModelLosses> models)
    {
        var (forgotten, unseen) = (models[0].Forget.Count, models[0].Peers.Count);
        bool[] isMember = [.. Enumerable.Repeat(true, forgotten), .. Enumerable.Repeat(false, unseen)];
        RankedLabels[] ranked =
        [
            .. models.Select(model => new RankedLabels([.. model.Forget.Concat(model.Peers).Select(loss => -loss)], isMember)),
        ];
        return Bootstrap.Of(
            "membership",
            ranked.Average(r => r.Auc()),
            random =>
            {
                int[] counts = [.. random.Counts(forgotten), .. random.Counts(unseen)];
                return ranked.Average(r => r.Auc(counts));
            }
        );
    }
}
