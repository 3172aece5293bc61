using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

public sealed partial record Magic
{
    /// <summary>
    /// The derivative by the weight of each loss token of each training example, summed over the example's visits: which of its predictions
    /// the query profits from in the end.
    /// <code>s(z, t, q) = - d f(w_T, q) / d weight_(z, t),   with l_z = sum over t of weight_(z, t) l_t</code>
    /// </summary>
    /// <remarks>
    /// Over T the scores sum to those of <see cref="ScoreInto"/>, up to rounding; with the empirical Fisher matrix up to the error of a
    /// difference, which scores of tokens are there. The same passes as for examples; with the empirical
    /// Fisher matrix two forward passes a step and query more. Memory: Q N T numbers more. Padding that the loss leaves out has a score of
    /// zero.
    /// </remarks>
    /// <param name="task">The model, with the weights from before training, and its loss. It is left as it was found.</param>
    /// <param name="train">The training examples of the run; those that nothing visits have scores of zero.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="tokenLosses">
    /// The training loss before its sum over tokens, <c>[B, T]</c>:
    /// <c>b => Losses.TokenCrossEntropy(model.call(b["x"]), b["y"], b["mask"])</c>.
    /// </param>
    /// <param name="progress">Told after each step.</param>
    /// <param name="cancellationToken">Checked after each step.</param>
    /// <returns><c>[Q, N, T]</c>; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, token losses that do not sum to the training loss, a position mask, or a run that
    /// does not repeat itself.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public TokenScores ScoreLossTokens(
        InfluenceTask task,
        Examples train,
        Examples queries,
        Func<ExampleBatch, Tensor> tokenLosses,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(tokenLosses);
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        if (task.PositionMask is not null)
        {
            throw new InfluenceException(
                "Scores per loss token follow the token losses as they are, which know no PositionMask. Mask inside the model or the "
                    + "losses, and leave PositionMask out."
            );
        }

        using var scope = NewDisposeScope();
        return OnModel(
            task,
            train,
            replay =>
            {
                using var reporter = new ProgressReporter(progress, "replaying", 1, 3L * Batches.Sum(b => b.Count), cancellationToken);
                replay.CheckTokenLosses();
                var sums = new Dictionary<long, double[]>[queries.Count];
                for (var q = 0; q < sums.Length; q++)
                {
                    sums[q] = [];
                }

                Backwards(
                    replay,
                    queries,
                    reporter,
                    (_, ids, scores) =>
                    {
                        for (var q = 0; q < sums.Length; q++)
                        {
                            foreach (var id in ids)
                            {
                                sums[q][id] = Sum(sums[q].GetValueOrDefault(id) ?? [], scores[q][id]);
                            }
                        }
                    }
                );
                var width = Math.Max(1, sums.SelectMany(of => of.Values).Max(values => values.Length));
                var all = new double[queries.Count, train.Count, width];
                for (var q = 0; q < sums.Length; q++)
                {
                    for (var i = 0; i < train.Count; i++)
                    {
                        foreach (var (t, value) in (sums[q].GetValueOrDefault(train.Ids[i]) ?? []).Index())
                        {
                            all[q, i, t] = value;
                        }
                    }
                }

                var dtype = replay.Dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
                var metadata = Metadata();
                return new TokenScores(
                    tensor(all).to_type(dtype),
                    [.. queries.Ids],
                    [.. train.Ids],
                    metadata with
                    {
                        Estimator = $"{metadata.Estimator}, per loss token",
                        Unit = "first-order rise of the measurement when the loss token is left out of all batches",
                        LeaveOneOutFactor = null,
                    }
                );
            },
            tokenLosses
        );

        // A query that no step reaches has one zero an example, whatever its tokens.
        static double[] Sum(double[] sum, double[] more)
        {
            var (longer, shorter) = sum.Length >= more.Length ? (sum, more) : (more, sum);
            return [.. longer.Select((value, t) => t < shorter.Length ? value + shorter[t] : value)];
        }
    }
}
