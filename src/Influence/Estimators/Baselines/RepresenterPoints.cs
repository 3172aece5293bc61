using System.Globalization;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// Representer points: what each training example adds to a query's logit. The last layer W is refitted, without a bias, to the model's own
/// softmax outputs p by <c>min over W of (1/N) sum of CE(softmax(W a_i), p_i) + l2 |W|^2</c>; at the minimum <c>W = sum of alpha_i a_i'</c>
/// with <c>alpha_i = (p_i - softmax(W a_i)) / (2 l2 N)</c>, and <c>s(i, q) = alpha_(i, c) (a_i . a_q)</c> for the query's class c. A
/// query's scores sum to its refitted logit.
/// </summary>
/// <remarks>
/// Yeh et al., NeurIPS 2018. A baseline of one layer: positive scores raise the logit of class c, negative ones hold it down. The minimum
/// is unique; it is found by L-BFGS in float64, from zero, until the gradient is <see cref="Tolerance"/> of its first. Cost: one forward
/// pass an example and delegate, <c>O(N d C)</c> an iteration, <c>O(Q N d)</c> for the scores; memory of all features and outputs in
/// float64. Scores are float64.
/// </remarks>
/// <example>
/// <code>
/// using var scores = new RepresenterPoints(b => body.call(b["x"]), b => model.call(b["x"])).Score(task, train, queries);
/// </code>
/// </example>
public sealed record RepresenterPoints : IPairEstimator
{
    private readonly Func<ExampleBatch, Tensor> _features;
    private readonly Func<ExampleBatch, Tensor> _logits;

    /// <summary>Takes features and outputs.</summary>
    /// <param name="features">From a batch to the inputs of the last layer, <c>[B, d]</c>. A column of ones stands for a bias.</param>
    /// <param name="logits">From a batch to the model's logits, <c>[B, C]</c>.</param>
    public RepresenterPoints(Func<ExampleBatch, Tensor> features, Func<ExampleBatch, Tensor> logits)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(logits);
        (_features, _logits) = (features, logits);
    }

    /// <summary>The factor of <c>|W|^2</c>. The smaller, the closer the refit is to the model's outputs, and the longer it takes.</summary>
    /// <value>0.003.</value>
    public double L2
    {
        get;
        init => field = Check.Positive(value);
    } = 0.003;

    /// <summary>At which share of its first norm the gradient counts as zero.</summary>
    /// <value>1e-8.</value>
    public double Tolerance
    {
        get;
        init => field = Check.Positive(value);
    } = 1e-8;

    /// <summary>After how many iterations a refit that has not converged is given up, with an error.</summary>
    /// <value>2,000.</value>
    public int MaximumIterations
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 2000;

    /// <summary>From a batch of queries to the class that is explained, whole numbers <c>[B]</c>, as <c>b => b["y"]</c> for the right
    /// one.</summary>
    /// <value>Null: the class that the model predicts.</value>
    public Func<ExampleBatch, Tensor>? QueryClass { get; init; }

    /// <inheritdoc/>
    /// <exception cref="InfluenceException">
    /// Bad input; features, logits or classes of another shape, or that are not finite; or a refit that did not converge.
    /// </exception>
    public ScoreMetadata ScoreInto(
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        using var reader = new FeatureReader(sink, task, train, queries, "representer points", progress, cancellationToken);
        using var scope = NewDisposeScope();
        Tensor? features = null,
            targets = null;
        reader.Read(train, (first, batch) => Keep(train.Count, first, batch, ref features, ref targets));
        Tensor? queryFeatures = null,
            queryLogits = null;
        var classes = new List<long>(queries.Count);
        reader.Read(
            queries,
            (first, batch) =>
            {
                Keep(queries.Count, first, batch, ref queryFeatures, ref queryLogits);
                classes.AddRange(QueryClass is null ? [] : FeatureReader.Labels(QueryClass, batch, "Classes"));
            }
        );
        CheckWidth("Features", features!.shape[1], queryFeatures!.shape[1]);
        CheckWidth("Logits", targets!.shape[1], queryLogits!.shape[1]);
        if (QueryClass is null)
        {
            classes.AddRange(queryLogits.argmax(1).data<long>().ToArray());
        }

        var count = targets.shape[1];
        if (classes.Where(c => c < 0 || c >= count).ToList() is { Count: > 0 } strange)
        {
            throw new InfluenceException(
                $"Classes of queries are 0 to {count - 1}, as there are {count} logits; found "
                    + $"{InfluenceException.List([.. strange.Distinct()])}."
            );
        }

        targets = nn.functional.softmax(targets, 1); // [N, C]
        var (weights, iterations) = Fit(features, targets, cancellationToken);
        var alphas = (targets - nn.functional.softmax(features.mm(weights.t()), 1)) / Kept(2 * L2 * train.Count);
        var chosen = alphas.index_select(1, tensor(classes.ToArray())).t(); // [Q, N]
        var atOnce = sink.ExamplesAtOnce(queries.Count, train.Count);
        for (var first = 0; first < train.Count; first += atOnce)
        {
            using var block = NewDisposeScope();
            var size = Math.Min(atOnce, train.Count - first);
            sink.Add(0, first, queryFeatures.mm(features.narrow(0, first, size).t()) * chosen.narrow(1, first, size));
        }

        return new ScoreMetadata
        {
            Estimator = string.Create(CultureInfo.InvariantCulture, $"representer points (l2 = {L2})"),
            Sign = "positive = the example raises the logit of the query's class",
            Unit = "logit of the refitted last layer",
            Layers = "the last, refitted",
            Notes = $"refitted in {iterations} iterations",
        };
    }

    private void Keep(int count, int first, ExampleBatch batch, ref Tensor? features, ref Tensor? logits)
    {
        Place(FeatureReader.Rows(_features, batch, "Features"), "Features", ref features);
        Place(FeatureReader.Rows(_logits, batch, "Logits"), "Logits", ref logits);

        void Place(Tensor rows, string what, ref Tensor? all)
        {
            all ??= zeros([count, rows.shape[1]], ScalarType.Float64).MoveToOuterDisposeScope();
            CheckWidth(what, all.shape[1], rows.shape[1]);
            all.narrow(0, first, batch.Count).copy_(rows);
        }
    }

    private static void CheckWidth(string what, long expected, long found)
    {
        if (expected != found)
        {
            throw new InfluenceException($"{what} have one width throughout; found [B, {expected}] and [B, {found}].");
        }
    }

    /// <summary>The refitted layer, <c>[C, d]</c>: L-BFGS with ten pairs; the objective is strongly convex, so every pair has positive
    /// curvature.</summary>
    private (Tensor Weights, int Iterations) Fit(Tensor features, Tensor targets, CancellationToken token)
    {
        const int Pairs = 10;
        var shape = new[] { targets.shape[1], features.shape[1] };
        var point = new double[shape[0] * shape[1]];
        var (value, gradient) = Objective(point);
        var goal = Tolerance * Math.Sqrt(Dot(gradient, gradient));
        var pairs = new List<(double[] Step, double[] Change, double Inverse)>();
        for (var iteration = 0; ; iteration++)
        {
            token.ThrowIfCancellationRequested();
            var norm = Math.Sqrt(Dot(gradient, gradient));
            if (norm <= goal)
            {
                return (tensor(point).reshape(shape), iteration);
            }

            var direction = Direction(gradient, pairs);
            var slope = Dot(gradient, direction);
            if (iteration >= MaximumIterations || !(slope < 0) || !TryStep(direction, slope, out var next))
            {
                throw new InfluenceException(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"The refit of the last layer did not converge: after {iteration} iterations the gradient's norm is {norm:G3}, and "
                            + $"{goal:G3} is expected. "
                    ) + "Write a larger L2 or Tolerance, more MaximumIterations, or features of unit size."
                );
            }

            var step = next.Point.Zip(point, (a, b) => a - b).ToArray();
            var change = next.Gradient.Zip(gradient, (a, b) => a - b).ToArray();
            if (Dot(step, change) is > 0 and var curvature)
            {
                pairs.Add((step, change, 1 / curvature));
                if (pairs.Count > Pairs)
                {
                    pairs.RemoveAt(0);
                }
            }

            (point, value, gradient) = next;
        }

        (double Value, double[] Gradient) Objective(double[] at)
        {
            using var scope = NewDisposeScope();
            var weights = tensor(at).reshape(shape);
            var logs = nn.functional.log_softmax(features.mm(weights.t()), 1); // [N, C]
            var loss = (-(targets * logs).sum() / Kept(features.shape[0])).item<double>() + (L2 * Dot(at, at));
            var slope = (logs.exp() - targets).t().mm(features) / Kept(features.shape[0]);
            return (loss, (slope + (Kept(2 * L2) * weights)).reshape(-1).contiguous().data<double>().ToArray());
        }

        bool TryStep(double[] direction, double slope, out (double[] Point, double Value, double[] Gradient) next)
        {
            var length = pairs.Count == 0 ? Math.Min(1, 1 / Math.Sqrt(Dot(direction, direction))) : 1.0;
            for (var halving = 0; halving < 50; halving++, length /= 2)
            {
                var at = point.Zip(direction, (p, d) => p + (length * d)).ToArray();
                var (there, slopes) = Objective(at);

                // Close to the minimum the values differ by rounding alone; there the slope along the step decides.
                if (
                    there <= value + (1e-4 * length * slope)
                    || (there <= value + (1e-12 * (1 + Math.Abs(value))) && Math.Abs(Dot(slopes, direction)) < 0.9 * Math.Abs(slope))
                )
                {
                    next = (at, there, slopes);
                    return true;
                }
            }

            next = default;
            return false;
        }
    }

    /// <summary>Minus the gradient times the inverse curvature of the last steps, by the two loops of L-BFGS.</summary>
    private static double[] Direction(double[] gradient, List<(double[] Step, double[] Change, double Inverse)> pairs)
    {
        double[] direction = [.. gradient.Select(g => -g)];
        var factors = new double[pairs.Count];
        for (var k = pairs.Count - 1; k >= 0; k--)
        {
            factors[k] = pairs[k].Inverse * Dot(pairs[k].Step, direction);
            Add(direction, -factors[k], pairs[k].Change);
        }

        if (pairs.Count > 0)
        {
            var scale = 1 / (pairs[^1].Inverse * Dot(pairs[^1].Change, pairs[^1].Change));
            for (var i = 0; i < direction.Length; i++)
            {
                direction[i] *= scale;
            }
        }

        for (var k = 0; k < pairs.Count; k++)
        {
            Add(direction, factors[k] - (pairs[k].Inverse * Dot(pairs[k].Change, direction)), pairs[k].Step);
        }

        return direction;

        static void Add(double[] to, double factor, double[] what)
        {
            for (var i = 0; i < to.Length; i++)
            {
                to[i] += factor * what[i];
            }
        }
    }

    private static double Dot(double[] a, double[] b)
    {
        var sum = 0.0;
        for (var i = 0; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }
}
