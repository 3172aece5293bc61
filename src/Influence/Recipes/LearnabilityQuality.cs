using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Recipes;

/// <summary>
/// DELT's learnability-quality score: how much weight on an example along a whole run of SGD would have lowered a target loss J, over the
/// run, by optimal control. Backwards through the run, with the mean training loss L and its Hessian H,
/// <code>
/// costate   lambda_T = grad J(w_T),  lambda_t = lambda_(t+1) + grad J(w_t) - rate H(w_t) lambda_(t+1)
/// LQS(x)  = sum over t of lambda_(t+1) . grad l(x, w_t) / || grad l(x, w_(t+1)) ||
/// </code>
/// Without the division it is the PDS score, quality alone: the division favours examples that the model learns, whose gradient falls.
/// </summary>
/// <remarks>
/// <para>
/// J is the mean of the task's measurement over the target examples, L the mean of its training loss over the training examples. The PDS
/// score is exactly -(1/rate) times the derivative of J(w_1) + ... + J(w_T) with respect to extra weight on the example's gradient, for
/// full-batch SGD without momentum; for mini-batches and Adam it is an approximation. The rate is
/// that of all steps: where it changes, rate_t times step t's term takes the place of the common factor. LQS leaves out a step whose
/// gradient norm at its end is below 1e-6 of the examples' median, which is rounding; the metadata's notes name the examples.
/// </para>
/// <para>
/// One checkpoint a step is exact. Sparser ones stand for the steps until the next: the recursion runs through each of the K steps between
/// two checkpoints with the first one's gradients and curvature, and the rate that is recorded with the second (the one in force when
/// <c>recorder.Step</c> is called before the scheduler's step). The sum runs over steps either way. Where weights move far between two
/// checkpoints, early in a run, that is coarse.
/// </para>
/// <para>
/// Cost: a Hessian product over all training examples (about three gradients) for each step but one, and two gradient passes for each
/// checkpoint; so use a small proxy run, as the paper does. Memory: three vectors of the parameters' length beside one batch. Positive =
/// proponent: training on the example lowers J. Unit: J times steps (LQS: over the gradient's norm). References: Dai et al., "Data Efficacy
/// for Language Model Training", 2025 (DELT); Gu et al., "Data Selection via Optimal Control for Language Models", ICLR 2025 (PDS), theorem
/// 2.1.
/// </para>
/// </remarks>
public sealed record LearnabilityQuality
{
    /// <summary>Of the median: in float32 a gradient that is none has a norm of about 1e-7 of what cancels in it.</summary>
    private const double SmallestNorm = 1e-6;

    /// <summary>The proxy run: two or more checkpoints in the order of their steps, the start of the run first; copied.</summary>
    /// <exception cref="InfluenceException">Fewer than two, steps that do not ascend, or rates that are negative.</exception>
    public required IReadOnlyList<Checkpoint> Checkpoints
    {
        get;
        init =>
            field = Checked(
                CheckpointList.Copy(value ?? throw new ArgumentNullException(nameof(value)), 2, "the start and the end of a run")!
            );
    }

    /// <summary>Whether each term is divided by the gradient's norm after the step. False: the PDS score.</summary>
    /// <value>True.</value>
    public bool DivideByNorm { get; init; } = true;

    /// <summary>Bytes that written-out gradients may take. Cost only, does not change results.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

    /// <summary>Scores every training example of the proxy run.</summary>
    /// <param name="task">The model and its loss. The model is left as it was found, its weights too.</param>
    /// <param name="train">N training examples, those of the run.</param>
    /// <param name="targets">Q examples of what the model shall be good at.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One score per training example.</returns>
    /// <exception cref="InfluenceException">Bad input, a model that cannot be differentiated twice, or a costate that grows without
    /// bound.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public ExampleScores Score(
        InfluenceTask task,
        Examples train,
        Examples targets,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (train, "training examples"), (targets, "target examples"));
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var weights = new WeightKeeper(task.Model, Checkpoints);
        var last = Checkpoints.Count - 1;
        var steps = Checkpoints[last].Step - Checkpoints[0].Step;
        using var reporter = new ProgressReporter(
            progress,
            Name,
            1,
            train.Count * (steps - 1 + (last * (DivideByNorm ? 2 : 1))),
            cancellationToken
        );
        weights.Load(last);
        using var session = GradientSession.Open(task, train, targets, memory: MemoryBudget);
        var layout = new ParameterVector(session);
        var run = new Run(
            session,
            layout,
            new HessianProduct(session, layout),
            new GradientProducts(session, MemoryBudget, GradientMetric.Euclidean, Normalization.None),
            MemoryBudget,
            reporter
        );
        run.Hessian.Try(train);
        var totals = zeros([train.Count], ScalarType.Float64); // [N]
        var costate = TargetGradient(run, targets); // [P], lambda_T
        var norms = DivideByNorm ? Norms(run, train) : null; // [N], at w_T
        var leftOut = new List<long>();
        for (var c = last - 1; c >= 0; c--)
        {
            using var one = NewDisposeScope();
            weights.Load(c);
            var summed = Backwards(run, train, targets, costate, c); // [P]
            if (!Checkpoints[c + 1].Rates.AreSame)
            {
                // An example's weight moves each parameter by its own rate; the common one is left out, as where all have the same.
                summed.mul_(Rates(run, c + 1)).div_(Kept(Checkpoints[c + 1].LearningRate));
            }

            var terms = Products(run, train, summed); // [N]
            totals.add_(norms is null ? terms : Divided(terms, norms, train.Ids, leftOut));
            if (norms is not null && c > 0)
            {
                norms.copy_(Norms(run, train));
            }
        }

        Log.Scored(task.Logger, Name, targets.Count, train.Count, Checkpoints.Count, reporter.Elapsed.TotalSeconds);
        return new ExampleScores(Name, train.Ids, totals.data<double>().ToArray(), Metadata(task, session, leftOut));
    }

    private string Name => DivideByNorm ? "LQS" : "PDS";

    /// <summary>Takes the costate back through the steps from one checkpoint to the next; returns its sum over them, <c>[P]</c>.</summary>
    private Tensor Backwards(Run run, Examples train, Examples targets, Tensor costate, int checkpoint)
    {
        var (start, end) = (Checkpoints[checkpoint], Checkpoints[checkpoint + 1]);
        var (steps, summed) = (end.Step - start.Step, zeros_like(costate));
        Tensor? target = null;
        var rates = Rates(run, checkpoint + 1); // [] or [P]
        for (var s = 0L; s < steps; s++)
        {
            summed.add_(costate);
            if (checkpoint == 0 && s == steps - 1)
            {
                // No step lies before the start of the run.
                break;
            }

            using var one = NewDisposeScope();
            CheckGrowth(costate, start, end);
            target ??= TargetGradient(run, targets).MoveToOuterDisposeScope();
            var curved = run.Hessian.Over(train, (costate * rates).unsqueeze(0), run.Reporter.Token, run.Reporter.Add)[0];
            costate.add_(target).sub_(curved);
        }

        return summed;
    }

    /// <summary>The learning rate at a checkpoint, <c>[]</c>, or each element's, <c>[P]</c>.</summary>
    private Tensor Rates(Run run, int checkpoint) =>
        Checkpoints[checkpoint].Rates is { AreSame: false } rates
            ? run.Layout.Each(p => rates.Of(p.Name).LearningRate)
            : tensor(Checkpoints[checkpoint].LearningRate, run.Layout.Dtype, run.Layout.Device);

    /// <summary>Told before the products overflow, which would blame the examples.</summary>
    private static void CheckGrowth(Tensor costate, Checkpoint start, Checkpoint end)
    {
        var bound = costate.dtype == ScalarType.Float64 ? 1e150 : 1e18;
        if (!(costate.abs().max().to_type(ScalarType.Float64).item<double>() <= bound))
        {
            throw new InfluenceException(
                $"The costate grows without bound between the checkpoints of steps {start.Step} and {end.Step}: the learning rate "
                    + $"{end.Rates} times the curvature is above 2 there. Record a checkpoint at every step of the proxy run, or train it "
                    + "with a smaller rate."
            );
        }
    }

    /// <summary>grad J at the weights at hand, <c>[P]</c>.</summary>
    private static Tensor TargetGradient(Run run, Examples targets)
    {
        var mean = zeros([run.Layout.Length], run.Session.Dtype, run.Session.Device); // [P]
        using var sum = new GradientSum(run.Session);
        foreach (
            var examples in SubBatches.Within(
                run.Session,
                targets,
                LossKind.Measurement,
                run.MemoryBudget,
                (int)run.Session.Dtype.ElementSize()
            )
        )
        {
            run.Reporter.Token.ThrowIfCancellationRequested();
            using var batch = run.Session.Capture(examples, LossKind.Measurement);
            sum.Add(batch);
        }

        using var total = sum.Take();
        mean.add_(run.Layout.Flatten(total)[0]).div_(Kept(targets.Count));
        return mean;
    }

    private static Tensor Products(Run run, Examples train, Tensor vector)
    {
        var totals = zeros([1, train.Count], run.Session.Dtype, CPU); // [1, N]
        using (
            var gradient = new BatchGradients(NewDisposeScope(), [-1], run.Session.Dtype, run.Session.Device)
            {
                Blocks = run.Layout.Blocks(vector.unsqueeze(0)),
            }
        )
        {
            run.Gradients.AddOne(totals, train, gradient, 1, run.Reporter);
        }

        return totals[0].to_type(ScalarType.Float64);
    }

    private static Tensor Norms(Run run, Examples train)
    {
        var norms = zeros([train.Count], ScalarType.Float64); // [N]
        long first = 0;
        foreach (var examples in SubBatches.Within(run.Session, train, LossKind.Training, run.MemoryBudget, sizeof(double)))
        {
            run.Reporter.Token.ThrowIfCancellationRequested();
            using var batch = run.Session.Capture(examples, LossKind.Training);
            norms.narrow(0, first, batch.Count).copy_(PreciseNorms.Of(batch));
            first += batch.Count;
            run.Reporter.Add(batch.Count);
        }

        return norms;
    }

    /// <summary>Terms over norms <c>[N]</c>; 0 where the norm is rounding, which adds the example to those left out.</summary>
    private static Tensor Divided(Tensor terms, Tensor norms, IReadOnlyList<long> ids, List<long> leftOut)
    {
        var values = norms.data<double>().ToArray();
        double[] present = [.. values.Where(v => v > 0).Order()];
        var least = present.Length == 0 ? 0 : SmallestNorm * present[present.Length / 2];
        leftOut.AddRange(ids.Where((_, i) => values[i] <= least));
        return (terms / norms).masked_fill(norms.le(Kept(least)), Kept(0));
    }

    private static IReadOnlyList<Checkpoint> Checked(IReadOnlyList<Checkpoint> checkpoints)
    {
        if (checkpoints.Zip(checkpoints.Skip(1)).Any(pair => pair.First.Step >= pair.Second.Step))
        {
            throw new InfluenceException(
                "Checkpoints in the order of their steps are expected; found steps "
                    + $"{InfluenceException.List([.. checkpoints.Select(c => c.Step)])}. "
                    + "A recorder's are; the start of a run is recorder.Save(model, optimizer) before the first step."
            );
        }

        return checkpoints.All(c => c.LearningRate >= 0)
            ? checkpoints
            : throw new InfluenceException(
                "Learning rates are not negative; found "
                    + $"{InfluenceException.List([.. checkpoints.Select(c => c.LearningRate.ToString(CultureInfo.InvariantCulture))])}."
            );
    }

    private ScoreMetadata Metadata(InfluenceTask task, GradientSession session, List<long> leftOut) =>
        new()
        {
            Estimator = DivideByNorm ? "LQS (learnability-quality score)" : "PDS (costate . gradient)",
            Checkpoints = string.Join(
                "; ",
                Checkpoints.Select(c => string.Create(CultureInfo.InvariantCulture, $"step {c.Step}: {c.Rates}"))
            ),
            Sign = "positive = proponent: weight on the example along the run lowers the target loss",
            Unit = DivideByNorm ? "target loss times steps, over the gradient's norm" : "target loss times steps, over the learning rate",
            Curvature = "Hessian of the mean training loss, exact products",
            Layers = task.Layers.Description,
            Coverage = session.Coverage.Fraction,
            Notes =
                leftOut.Count == 0
                    ? string.Empty
                    : "terms left out, as the gradient's norm after the step is below "
                        + $"{SmallestNorm.ToString(CultureInfo.InvariantCulture)} of "
                        + $"the median: {leftOut.Count}, of the examples with ids "
                        + $"{InfluenceException.List([.. leftOut.Distinct().Order()])}",
        };

    /// <summary>What every pass of a call needs.</summary>
    private sealed record Run(
        GradientSession Session,
        ParameterVector Layout,
        HessianProduct Hessian,
        GradientProducts Gradients,
        long MemoryBudget,
        ProgressReporter Reporter
    );
}
