using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

public sealed partial record Magic
{
    /// <summary>
    /// What another order of the training data would have done, forecast along the recorded run and without training again. With B_t the
    /// run's batches, w_t its weights, B'_t the other batches and u_t the other run's weights, the other run takes the optimizer's own
    /// steps with gradients of first order:
    /// <code>g'_t = grad L(w_t, B'_t) + H(w_t, B'_t) (u_t - w_t),   u_0 = w_0,   rise of q = grad f(w_T, q) . (u_T - w_T)</code>
    /// </summary>
    /// <remarks>
    /// <para>
    /// Exact, but for the measurement, where gradients are affine in the weights (a quadratic loss), and where only the last step differs;
    /// else the error is of second order in the distance of the two runs. Moments, decay and clipping are those of the other run. An order
    /// that is the run's own gives 0. The other batches need not hold the same examples, so that a run on other data is forecast as well.
    /// </para>
    /// <para>
    /// Cost: one run, and three passes over its batch for each step and order, however many queries there are. Memory: six times the
    /// parameters, and three for each order. The gradients are those of <see cref="Approximation.Exact"/> whatever <see cref="Curvature"/>
    /// says. The forward form of the adjoint of Ilyas, Engstrom, "MAGIC: Near-Optimal Data Attribution for Deep Learning", 2025, with the
    /// optimizer's arithmetic kept whole where that form takes its derivative too.
    /// </para>
    /// </remarks>
    /// <param name="task">The model, with the weights from before training, and its loss. It is left as it was found.</param>
    /// <param name="train">The training examples of the run and of the other orders.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="orders">K orders: the ids of the batch of each step, as many steps as <see cref="Batches"/> has.</param>
    /// <param name="progress">Told after each step.</param>
    /// <param name="cancellationToken">Checked after each step.</param>
    /// <returns>The forecast rise of each query's measurement under each order, <c>[K, Q]</c>.</returns>
    /// <exception cref="InfluenceException">Bad input, another number of steps, ids that are unknown or twice in a batch, or a run that
    /// diverges.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public double[,] ForecastOrders(
        InfluenceTask task,
        Examples train,
        Examples queries,
        IReadOnlyList<IReadOnlyList<IReadOnlyList<long>>> orders,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(orders);
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        for (var k = 0; k < orders.Count; k++)
        {
            var order = orders[k];
            if (order is null || order.Count != Batches.Count)
            {
                throw new InfluenceException(
                    $"Each order holds one batch for each of the run's {Batches.Count} steps; order {k} holds {order?.Count ?? 0}. "
                        + "Write orders: [[[2, 3], [0, 1]]] for a run of Batches = [[0, 1], [2, 3]]."
                );
            }

            var bad = order.Index().Where(b => b.Item is null || b.Item.Count == 0 || b.Item.Distinct().Count() != b.Item.Count).ToList();
            if (bad.Count > 0)
            {
                throw new InfluenceException(
                    $"A batch holds at least one id and none twice; order {k} has others at steps "
                        + $"{InfluenceException.List([.. bad.Select(b => b.Index)])}."
                );
            }
        }

        return OnModel(
            task,
            train,
            replay =>
            {
                replay.CheckKnown(orders.SelectMany(order => order));
                var examples = Batches.Sum(b => b.Count) + (3L * orders.Sum(order => order.Sum(b => b.Count)));
                using var reporter = new ProgressReporter(progress, "replaying", 1, examples, cancellationToken);
                return Forwards(replay, queries, orders, reporter);
            }
        );
    }

    private double[,] Forwards(
        TrainingReplay replay,
        Examples queries,
        IReadOnlyList<IReadOnlyList<IReadOnlyList<long>>> orders,
        ProgressReporter reporter
    )
    {
        using var scope = NewDisposeScope();
        var state = replay.Start();
        RunState[] others = [.. orders.Select(_ => new RunState(state.Weights.clone(), state.First.clone(), state.Second.clone()))];
        for (var t = 0; t < Batches.Count; t++)
        {
            using var inner = NewDisposeScope();
            var next = replay.Step(state, t).After;
            reporter.AddOrCancel(Batches[t].Count);
            for (var k = 0; k < orders.Count; k++)
            {
                var (old, moved) = (others[k], Forecast(replay, t, orders[k][t], state, others[k]));
                others[k] = moved.MoveToOuterDisposeScope();
                old.Dispose();
                reporter.AddOrCancel(3 * orders[k][t].Count);
            }

            state.Dispose();
            state = next.MoveToOuterDisposeScope();
        }

        var gradients = replay.QueryGradients(state.Weights, queries).to_type(ScalarType.Float64); // [Q, P]
        var rises = new double[orders.Count, queries.Count];
        for (var k = 0; k < orders.Count; k++)
        {
            var own = gradients.mv((others[k].Weights - state.Weights).to_type(ScalarType.Float64)).cpu().data<double>().ToArray();
            for (var q = 0; q < own.Length; q++)
            {
                rises[k, q] = own[q];
            }
        }

        return rises;
    }

    /// <summary>A step of the other run, whose gradient at its own weights is taken to first order from the recorded ones.</summary>
    private static RunState Forecast(TrainingReplay replay, int step, IReadOnlyList<long> ids, RunState recorded, RunState other)
    {
        using var scope = NewDisposeScope();
        var along = HessianProduct(replay, ids, recorded.Weights, other.Weights - recorded.Weights);
        var gradient = replay.Gradient(ids, recorded.Weights) + along;
        return replay.After(other, step, replay.Clipped(gradient)).MoveToOuterDisposeScope();
    }

    private static Tensor HessianProduct(TrainingReplay replay, IReadOnlyList<long> ids, Tensor weights, Tensor direction)
    {
        var norm = direction.norm().to_type(ScalarType.Float64).item<double>();
        if (norm == 0)
        {
            return zeros_like(weights);
        }

        var e = Distance(replay, weights);
        var u = direction * Kept(e / norm);
        return (replay.Gradient(ids, weights + u) - replay.Gradient(ids, weights - u)) * Kept(norm / (2 * e));
    }
}
