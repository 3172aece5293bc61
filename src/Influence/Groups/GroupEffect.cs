using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>
/// What becomes of queries when a whole group is removed, halved or doubled and the model trained to its optimum again. The
/// objective becomes (sum of all + (c - 1) sum of the group) / M with M = N + (c - 1) m. The change of the parameters is
/// predicted as
/// <code>
/// first:    d1 = (1 - c) / M * P (sum over the group of grad L)
/// second:   d2 = d1 - r P (H - H_group) d1,          r = (1 - c) m / M
/// Newton:   (H + damping I + r (H - H_group))^-1 (1 - c) / M * (sum over the group of grad L)
/// </code>
/// with P = (H + damping I)^-1, H and H_group the mean curvature over all examples and over the group. For c = 0, r = p / (1 - p)
/// with p = m / N.
/// </summary>
/// <remarks>
/// <para>
/// The first order is that of <see cref="GroupInfluence"/> over M. It takes the curvature to stay as it is; in a coherent group (a
/// class, a domain) it does not, and the second order corrects for that. It is the first term of a series in r: for a group that is
/// more than about a third of the data, Newton is safer. All three expand around an optimum: of a model that was not trained to
/// one, they predict the difference that the group makes, not the training that was still to come. What training adds to the loss
/// (weight decay) belongs into the loss, per example, so that it re-weights along; a damping is kept as it is.
/// </para>
/// <para>
/// The measurement is given to first order in the parameters' change, and at the moved parameters themselves, which costs a forward
/// pass over the queries for each group and order and was the closer of the two, by every order, on a logistic regression and a small MLP
/// that were trained to their optimum again: half as far off for groups that are halved or doubled.
/// </para>
/// <para>
/// Cost: a backward pass over the groups' examples; for the second order curvature products over all examples, one for each group
/// in a shared pass, one more over each group, and a second application of P; for Newton P products over each group and an
/// eigendecomposition. A group's examples are batched anew, so that scattered ones cost no more. A loader is read once for all
/// groups that are treated at once, three times with the second order; for Newton once more for each group and 256 parameters.
/// Memory: six vectors of the parameters' size for each group that is treated at once; what a loader gives waits, up to a quarter
/// of <see cref="MemoryBudget"/>.
/// </para>
/// <para>
/// References: Basu, You, Feizi, "On Second-Order Group Influence Functions for Black-Box Predictions", ICML 2020, section 4 (with
/// the sign that follows from the expansion); Guo, Goldstein, Hannun, van der Maaten, "Certified Data Removal", ICML 2020, equation 2
/// (Newton).
/// </para>
/// </remarks>
public sealed partial record GroupEffect
{
    private readonly Preconditioner _preconditioner;

    /// <summary>Takes the curvature.</summary>
    /// <param name="preconditioner">The curvature of all training examples; it stays the caller's. Newton needs a
    /// <see cref="DenseCurvature"/>.</param>
    public GroupEffect(Preconditioner preconditioner)
    {
        ArgumentNullException.ThrowIfNull(preconditioner);
        _preconditioner = preconditioner;
    }

    /// <summary>The highest order to compute; lower ones come along.</summary>
    /// <value><see cref="GroupEffect.Expansion.Second"/>.</value>
    public Expansion Order
    {
        get;
        init => field = Check.Defined(value);
    } = Expansion.Second;

    /// <summary>The damping of this call.</summary>
    /// <value>Null: the preconditioner's own.</value>
    public Damping? Damping { get; init; }

    /// <summary>The curvature of the products of the second order and of Newton.</summary>
    /// <value>Null: the preconditioner's own, or the Gauss-Newton matrix where that is a Fisher matrix.</value>
    public CurvatureMatrix? Matrix
    {
        get;
        init => field = Check.Defined(value);
    }

    /// <summary>Bytes that vectors of the parameters' size may take. Cost only: with less, fewer groups share a pass.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

    /// <summary>Predicts the effect of re-weighting each group on its own.</summary>
    /// <param name="task">The model at the weights of the fit, and its loss. The model is left as it was found.</param>
    /// <param name="train">All N training examples.</param>
    /// <param name="groups">Groups of their ids.</param>
    /// <param name="queries">Queries; their measurement is predicted.</param>
    /// <param name="queryGroups">Groups of their ids, a row is a group's mean; null: each query on its own.</param>
    /// <param name="weight">What each example of the group counts afterwards, c: 0 removed, 1/2 halved, 2 doubled.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The predictions, in plain memory.</returns>
    /// <exception cref="InfluenceException">
    /// Bad input, a group of all examples that is removed, a curvature of the re-weighted data that is not positive, Newton without a dense
    /// curvature; a gradient or a predicted change of the parameters that is not finite. A measurement that is not, at the predicted
    /// parameters, is no error: see <see cref="Result.Moved"/>.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Result Predict(
        InfluenceTask task,
        Examples train,
        ExampleGroups groups,
        Examples queries,
        ExampleGroups? queryGroups = null,
        double weight = 0,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(groups);
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        InfluenceException.ThrowIfAny([.. Problems(train, groups, queries, queryGroups, weight)]);
        queryGroups ??= ExampleGroups.Of(queries.Ids, id => $"query {id}");
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var session = GradientSession.Open(task, train, queries, memory: MemoryBudget);
        var layout = new ParameterVector(session);
        var atOnce = (int)Math.Clamp(MemoryBudget / (6.0 * layout.Length * session.Dtype.ElementSize()), 1, groups.Names.Count);
        using var reporter = new ProgressReporter(progress, "group effect", 1, Work(train, groups, layout, atOnce), cancellationToken);
        using var inverse = _preconditioner.Prepare(session, Damping, 0, cancellationToken);
        var (sums, rows) = (new GroupGradients(session, layout, MemoryBudget, reporter), GroupPlan.Whole(queryGroups, queries));
        var steps = new GroupSteps(
            _preconditioner,
            new InnerInverse(inverse, layout, damping: 0).Apply,
            inverse.Dampings,
            sums,
            Product(session, layout, train),
            Order,
            reporter
        );
        var measurements = new QueryMeasurements(session, layout, queries, rows, cancellationToken);
        var (gradients, now) = (sums.MeanMeasurements(queries, queryGroups.Names, rows.Slots), measurements.Values()); // [n, P], n
        var values = Enum.GetValues<Expansion>()
            .Where(order => order <= Order)
            .ToDictionary(
                order => order,
                _ => (Linear: new double[now.Length, groups.Names.Count], Moved: new double[now.Length, groups.Names.Count])
            );
        for (var first = 0; first < groups.Names.Count; first += atOnce)
        {
            using var chunk = NewDisposeScope();
            string[] names = [.. groups.Names.Skip(first).Take(atOnce)];
            foreach (
                var (order, moves) in steps.Of(
                    train,
                    ExampleGroups.FromMembers([.. names.Select(name => (name, (IEnumerable<long>)groups[name]))]),
                    weight
                )
            )
            {
                for (var g = 0; g < names.Length; g++)
                {
                    using var one = NewDisposeScope();
                    var move = moves.select(0, g); // [P]
                    var linear = gradients.mv(move).cpu().to_type(ScalarType.Float64).data<double>().ToArray();
                    var moved = MovedBy(measurements, move, names[g]);
                    for (var q = 0; q < now.Length; q++)
                    {
                        (values[order].Linear[q, first + g], values[order].Moved[q, first + g]) = (linear[q], moved[q] - now[q]);
                    }
                }
            }
        }

        var described = new InfluenceFunction(_preconditioner) { Damping = Damping }.Metadata(task, session, inverse);
        return new Result(
            queryGroups.Names,
            groups.Names,
            weight,
            described with
            {
                Estimator = $"group effect, {_preconditioner.Info.Method}",
                Sign = "positive: the measurement rises",
                Unit = "the measurement, after less before",
                LeaveOneOutFactor = null,
                Notes = groups.Overlap ? "groups overlap: each is re-weighted on its own" : string.Empty,
            },
            values
        );
    }

    /// <summary>Examples to go through: the groups' once for their gradients, once more for each higher order, and all for each shared
    /// pass.</summary>
    private long Work(Examples train, ExampleGroups groups, ParameterVector layout, int atOnce)
    {
        var members = groups.Names.Sum(name => (long)groups[name].Count);
        var passes = (groups.Names.Count + atOnce - 1) / atOnce;
        return members
            + (Order >= Expansion.Second ? ((long)passes * train.Count) + members : 0)
            + (Order == Expansion.Newton ? members * DenseCurvature.Passes(layout.Length) : 0);
    }

    private static double[] MovedBy(QueryMeasurements measurements, Tensor move, string group)
    {
        try
        {
            return measurements.ValuesAt(move);
        }
        catch (InfluenceException exception)
        {
            throw new InfluenceException(
                $"The measurement cannot be taken at the weights that are predicted for the group \"{group}\": {exception.Message} They "
                    + "lie too far off: write more damping.",
                exception
            );
        }
    }

    private CurvatureProduct? Product(GradientSession session, ParameterVector layout, Examples train)
    {
        if (Order == Expansion.First)
        {
            return null;
        }

        var product = CurvatureProduct.Of(
            Matrix ?? CurvatureSolver.MatrixOf(_preconditioner.Info) ?? CurvatureMatrix.GaussNewton,
            session,
            layout
        );
        product.Try(train);
        return product;
    }

    private IEnumerable<string> Problems(Examples train, ExampleGroups groups, Examples queries, ExampleGroups? queryGroups, double weight)
    {
        foreach (
            var problem in GroupPlan
                .Problems(groups, train, "groups", "training examples")
                .Concat(GroupPlan.Problems(queryGroups, queries, "query groups", "queries"))
        )
        {
            yield return problem;
        }

        if (!(weight >= 0 && double.IsFinite(weight)))
        {
            yield return $"The weight is what an example of the group counts afterwards, 0 (removed) or more; found {weight}.";
        }

        if (weight == 0 && groups.Names.Where(name => groups[name].Count >= train.Count).ToList() is { Count: > 0 } whole)
        {
            yield return $"Nothing is left without {InfluenceException.List([.. whole.Select(name => $"\"{name}\"")])}: it holds all "
                + $"{train.Count} training examples. Give train all examples of the training run, not the group's alone; or a weight "
                + "above 0.";
        }

        if (Order == Expansion.Newton && _preconditioner is not DenseCurvature)
        {
            yield return "GroupEffect.Expansion.Newton needs the curvature as a matrix, DenseCurvature.Fit(task, train); found "
                + $"{_preconditioner.Info.Method}. Or write Order = GroupEffect.Expansion.Second.";
        }

        if (Order == Expansion.Newton && _preconditioner.Info.Examples != train.Count)
        {
            yield return "GroupEffect.Expansion.Newton takes a group's curvature out of that of all data: fit the DenseCurvature on the "
                + $"{train.Count} training examples given here; it saw {_preconditioner.Info.Examples}.";
        }

        if (Order == Expansion.Newton && Matrix is { } matrix && matrix != CurvatureSolver.MatrixOf(_preconditioner.Info))
        {
            yield return $"GroupEffect.Expansion.Newton uses the matrix of the preconditioner ({_preconditioner.Info.Matrix}) for all "
                + "data; leave Matrix at null.";
        }
    }
}
