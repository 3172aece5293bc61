using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// MAGIC: the exact derivative of a query's measurement after a whole run of training by the weight of each training example in it.
/// <code>s(z, q) = - d f(w_T, q) / d weight_z,   summed over all visits of z</code>
/// The run is replayed from the model's current weights, then gone through backwards with the adjoint of every step of SGD or AdamW.
/// </summary>
/// <remarks>
/// <para>
/// The model holds the weights from before training, and has them again afterwards. Parameters that a step does not reach have a gradient
/// of zero there. Hessian products and the products with all gradients of a batch come from two ordinary passes at w ± e gamma/||gamma||
/// (e 1e-5 in float64, 1e-3 (1 + ||w||) in float32, where about three digits are right); no operator is differentiated twice. With
/// <see cref="Curvature"/> = <see cref="Approximation.EmpiricalFisher"/> they come from the gradient of each example at w, and nothing is a
/// difference.
/// </para>
/// <para>
/// Unit: the first-order rise of the measurement when the example's weight goes from 1 to 0 in all its visits, the run's other steps
/// following from it; a group's score is the sum over its members. At the first steps of Adam the true removal may be several times larger.
/// </para>
/// <para>
/// Cost: two runs, and two passes a step for each query; with the empirical Fisher matrix one of each example, for all queries.
/// Memory: about 2 sqrt(T) states of 3 P numbers and sqrt(T) gradients of P on the processor, and 3 Q P on the device. Reference: Ilyas,
/// Engstrom, "MAGIC: Near-Optimal Data Attribution for Deep Learning", 2025.
/// </para>
/// </remarks>
public sealed partial record Magic : IPairEstimator
{
    /// <summary>The ids of each step's batch, none twice in a step; copied.</summary>
    /// <exception cref="InfluenceException">No step, an empty batch, or an id twice in a batch.</exception>
    public required IReadOnlyList<IReadOnlyList<long>> Batches
    {
        get;
        init
        {
            ArgumentNullException.ThrowIfNull(value);
            var bad = value
                .Select((b, i) => (b, i))
                .Where(p => p.b is null || p.b.Count == 0 || p.b.Distinct().Count() != p.b.Count)
                .Select(p => p.i)
                .ToList();
            if (value.Count == 0 || bad.Count > 0)
            {
                throw new InfluenceException(
                    "Batches holds the ids of each step, at least one step and one id, no id twice in a step; found "
                        + $"{(value.Count == 0 ? "no step" : $"other batches at steps {InfluenceException.List(bad)}")}. "
                        + "Write Batches = [[0, 1], [2, 3]]."
                );
            }

            field = [.. value.Select(b => (IReadOnlyList<long>)[.. b])];
        }
    }

    /// <summary>The learning rate of each step, or one for all; copied.</summary>
    /// <exception cref="InfluenceException">None, or one that is negative or not finite.</exception>
    public required IReadOnlyList<double> LearningRates
    {
        get;
        init =>
            field = Check.List(
                value,
                rates => rates.Count > 0 && rates.All(r => r >= 0 && double.IsFinite(r)),
                "holds finite rates of at least 0, one for each step or one for all: LearningRates = [0.1]"
            );
    }

    /// <summary>The optimizer.</summary>
    /// <value><see cref="AdamW"/> with its defaults.</value>
    public UpdateRule Update
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    } = new AdamW();

    /// <summary>The batch's loss is the sum over its examples, not their mean.</summary>
    /// <value>False.</value>
    public bool SumsLosses { get; init; }

    /// <summary>The gradient's norm is cut to this before the optimizer sees it: g min(1, C/||g||).</summary>
    /// <value>Null: no clipping.</value>
    public double? ClipNorm
    {
        get;
        init => field = Check.Positive(value);
    }

    /// <summary>What stands for the Hessian of a step's loss, by which a change of weights changes the steps after it.</summary>
    /// <value><see cref="Approximation.Exact"/>.</value>
    public Approximation Curvature
    {
        get;
        init => field = Check.Defined(value);
    }

    /// <summary>Every so many steps a state is kept; those between are replayed. Cost only, does not change results.</summary>
    /// <value>Null: the root of the number of steps.</value>
    public int? KeepEvery
    {
        get;
        init => field = Check.AtLeastOne(value);
    }

    /// <inheritdoc/>
    /// <exception cref="InfluenceException">Bad input, or a run that does not repeat itself.</exception>
    public ScoreMetadata ScoreInto(
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(sink);
        using var scope = NewDisposeScope();
        var visits = ScoreVisits(task, train, queries, progress, cancellationToken);
        var positions = train.Ids.Select((id, i) => (id, i)).ToDictionary(p => p.id, p => p.i);
        var totals = new double[queries.Count, train.Count];
        foreach (var visit in visits)
        {
            for (var q = 0; q < visit.Scores.Count; q++)
            {
                totals[q, positions[visit.Id]] += visit.Scores[q];
            }
        }

        var dtype = ModelParameter.Find(task.Model)[0].Value.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        sink.Begin(queries.Ids, train.Ids, dtype);
        sink.Add(0, 0, tensor(totals).to_type(dtype));
        return Metadata();
    }

    private ScoreMetadata Metadata() =>
        new()
        {
            Estimator = $"MAGIC ({(Update is AdamW ? "AdamW" : "SGD")}, {Batches.Count} steps)",
            Checkpoints = "the whole run, replayed from the model's weights",
            Curvature =
                Curvature == Approximation.Exact
                    ? "Hessian of each step's loss, exact products"
                    : "empirical Fisher matrix of each step's batch",
            Unit = "first-order rise of the measurement when the example is left out of all its batches",
            LeaveOneOutFactor = 1,
        };

    /// <summary>The scores of each visit apart: of an example in one step.</summary>
    /// <param name="task">The model, with the weights from before training, and its loss. It is left as it was found.</param>
    /// <param name="train">The training examples of the run, and others, which nothing visits.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="progress">Told after each step.</param>
    /// <param name="cancellationToken">Checked after each step.</param>
    /// <returns>The visits, step by step.</returns>
    /// <exception cref="InfluenceException">Bad input, or a run that does not repeat itself.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public IReadOnlyList<Row> ScoreVisits(
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        return OnModel(
            task,
            train,
            replay =>
            {
                using var reporter = new ProgressReporter(progress, "replaying", 1, 3L * Batches.Sum(b => b.Count), cancellationToken);
                var visits = new List<Row>();
                Backwards(
                    replay,
                    queries,
                    reporter,
                    (step, ids, scores) => visits.AddRange(ids.Select(id => new Row(step, id, [.. scores.Select(s => s[id][0])])))
                );
                visits.Sort((x, y) => x.Step != y.Step ? x.Step.CompareTo(y.Step) : x.Id.CompareTo(y.Id));
                return visits;
            }
        );
    }

    /// <summary>The weights at the end of the run, flat, each example's loss weighed.</summary>
    internal double[] FinalWeights(
        InfluenceTask task,
        Examples train,
        Func<long, double>? share = null,
        ProgressReporter? reporter = null
    ) =>
        OnModel(
            task,
            train,
            replay =>
            {
                using var scope = NewDisposeScope();
                var state = replay.Start();
                for (var t = 0; t < Batches.Count; t++)
                {
                    using var inner = NewDisposeScope();
                    var (old, next) = (state, replay.Step(state, t, share).After);
                    state = next.MoveToOuterDisposeScope();
                    old.Dispose();
                    reporter?.AddOrCancel(Batches[t].Count);
                }

                return state.Weights.cpu().to_type(ScalarType.Float64).data<double>().ToArray();
            }
        );

    internal double RateOf(int step) => LearningRates[LearningRates.Count == 1 ? 0 : step];

    private T OnModel<T>(InfluenceTask task, Examples train, Func<TrainingReplay, T> action, Func<ExampleBatch, Tensor>? tokenLosses = null)
    {
        if (LearningRates.Count != 1 && LearningRates.Count != Batches.Count)
        {
            throw new InfluenceException(
                $"LearningRates holds one rate for each of the {Batches.Count} steps, or one for all; found {LearningRates.Count}."
            );
        }

        CheckTrained(task);
        if (!ReferenceEquals(task.Layers, LayerSelection.All))
        {
            throw new InfluenceException(
                "A run trains all trainable parameters: leave InfluenceTask.Layers out, and set requires_grad = "
                    + "false for those that the run left alone."
            );
        }

        using var scope = NewDisposeScope();
        using var weights = new KeptWeights(task.Model);
        try
        {
            return action(new TrainingReplay(this, task, train, tokenLosses));
        }
        finally
        {
            weights.Restore();
        }
    }

    /// <summary>Hands on each step's scores, from the last step to the first: for each query those of the batch's examples by id, one for
    /// each, or one for each of its tokens.</summary>
    private void Backwards(
        TrainingReplay replay,
        Examples queries,
        ProgressReporter reporter,
        Action<int, IReadOnlyList<long>, IReadOnlyList<Dictionary<long, double[]>>> take
    )
    {
        using var scope = NewDisposeScope();
        var every = KeepEvery ?? Math.Max(1, (int)Math.Ceiling(Math.Sqrt(Batches.Count)));
        var kept = new List<RunState>();
        var state = replay.Start();
        for (var t = 0; t < Batches.Count; t++)
        {
            using var inner = NewDisposeScope();
            if (t % every == 0)
            {
                kept.Add(state.Copy().MoveToOuterDisposeScope());
            }

            var (old, next) = (state, replay.Step(state, t).After);
            state = next.MoveToOuterDisposeScope();
            old.Dispose();
            reporter.AddOrCancel(Batches[t].Count);
        }

        kept.Add(state.To(CPU));
        var a = replay.QueryGradients(state.Weights, queries); // [Q, P]
        var (b, c) = (zeros_like(a), zeros_like(a));
        for (var segment = kept.Count - 2; segment >= 0; segment--)
        {
            using var inner = NewDisposeScope();
            var (first, last) = (segment * every, Math.Min(Batches.Count, (segment + 1) * every));
            var (states, gradients) = (new List<RunState> { kept[segment] }, new List<StepGradient>());
            for (var t = first; t < last; t++)
            {
                var (gradient, after) = replay.Step(states[^1].To(replay.Device), t);
                gradients.Add(gradient.To(CPU));
                states.Add(after.To(CPU));
                reporter.AddOrCancel(Batches[t].Count);
            }

            if (!states[^1].IsSame(kept[segment + 1]))
            {
                throw new InfluenceException(
                    $"The run does not repeat itself: steps {first} to {last - 1}, done twice, end in other weights or moments. Is there "
                        + "dropout or another random number in the model or the loss delegate, "
                        + "or an operator that is not deterministic? Write model.eval() first."
                );
            }

            for (var t = last - 1; t >= first; t--)
            {
                var (before, after) = (states[t - first].To(replay.Device), states[t - first + 1].To(replay.Device));
                take(t, Batches[t], Adjoint(replay, t, before, gradients[t - first].To(replay.Device), after, a, b, c));
                reporter.AddOrCancel(Batches[t].Count);
            }
        }
    }

    /// <summary>One step back; the cotangents of weights and moments, <c>[Q, P]</c>, are changed in place.</summary>
    private List<Dictionary<long, double[]>> Adjoint(
        TrainingReplay replay,
        int step,
        RunState before,
        StepGradient gradient,
        RunState after,
        Tensor a,
        Tensor b,
        Tensor c
    )
    {
        using var scope = NewDisposeScope();
        var (g, rate) = (gradient.Raw * Kept(gradient.Factor), RateOf(step));
        Tensor gammas;
        if (Update is AdamW adam)
        {
            var (one, two) = (1 - Math.Pow(adam.Beta1, step + 1), 1 - Math.Pow(adam.Beta2, step + 1));
            var root = (after.Second / Kept(two)).sqrt();
            var d = Kept(1) / (root + Kept(adam.Epsilon));
            var s = (after.First / Kept(one) * d * d / (Kept(2) * root)).masked_fill(root.eq(Kept(0)), Kept(0));
            b.sub_(Kept(rate / one) * a * d);
            c.add_(Kept(rate / two) * a * s);
            gammas = (Kept(1 - adam.Beta1) * b) + (Kept(2 * (1 - adam.Beta2)) * g * c);
            a.mul_(Kept(1 - (rate * adam.WeightDecay)));
            b.mul_(Kept(adam.Beta1));
            c.mul_(Kept(adam.Beta2));
        }
        else
        {
            var sgd = (Sgd)Update;
            gammas = b - (Kept(rate) * a);
            a.add_(Kept(sgd.WeightDecay) * gammas);
            b.copy_(Kept(sgd.Momentum) * gammas);
        }

        if (gradient.Factor < 1)
        {
            var unit = gradient.Raw / Kept(gradient.Norm);
            gammas = Kept(gradient.Factor) * (gammas - ((gammas * unit).sum(1, keepdim: true) * unit));
        }

        var ids = Batches[step];
        var share = SumsLosses ? 1.0 : 1.0 / ids.Count;
        List<Dictionary<long, double[]>> scores = [.. Enumerable.Range(0, (int)a.shape[0]).Select(_ => new Dictionary<long, double[]>())];
        if (Curvature == Approximation.EmpiricalFisher)
        {
            // H gamma = c sum of h (h . gamma), h the example's share of the gradient, c = B for a mean and 1 for a sum: its own gradient
            // twice, divided once.
            replay.ForEachGradient(
                step,
                before.Weights,
                (id, own) =>
                {
                    using var noGrad = no_grad();
                    var along = gammas.mv(own) * Kept(share); // [Q]
                    foreach (var (of, value) in scores.Zip(LayerHooks.Values(along)))
                    {
                        of[id] = [-value];
                    }

                    a.add_(outer(along, own));
                }
            );
            if (!replay.ByToken)
            {
                return scores;
            }
        }

        var e = Distance(replay, before.Weights);
        for (var q = 0; q < a.shape[0]; q++)
        {
            using var inner = NewDisposeScope();
            var norm = gammas[q].norm().to_type(ScalarType.Float64).item<double>();
            if (norm == 0)
            {
                foreach (var id in ids)
                {
                    scores[q][id] = [0];
                }

                continue;
            }

            var u = gammas[q] * Kept(e / norm);
            Dictionary<long, double[]> above,
                below;
            if (Curvature == Approximation.EmpiricalFisher)
            {
                (above, below) = (replay.Losses(ids, before.Weights + u), replay.Losses(ids, before.Weights - u));
            }
            else
            {
                (above, below) = ([], []);
                var ahead = replay.Gradient(ids, before.Weights + u, null, above);
                a[q].add_((ahead - replay.Gradient(ids, before.Weights - u, null, below)) * Kept(norm / (2 * e)));
            }

            foreach (var id in ids)
            {
                scores[q][id] = [.. above[id].Zip(below[id], (x, y) => -norm * (x - y) / (2 * e) * share)];
            }
        }

        return scores;
    }

    /// <summary>How far from the weights the two passes of a Hessian product are taken.</summary>
    private static double Distance(TrainingReplay replay, Tensor weights) =>
        replay.Dtype == ScalarType.Float64 ? 1e-5 : 1e-3 * (1 + weights.norm().to_type(ScalarType.Float64).item<double>());

    /// <summary>One example in one step.</summary>
    /// <param name="Step">From 0.</param>
    /// <param name="Id">The example's.</param>
    /// <param name="Scores">One for each query; positive = proponent.</param>
    public sealed record Row(int Step, long Id, IReadOnlyList<double> Scores);
}
