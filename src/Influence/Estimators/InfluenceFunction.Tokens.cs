using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

public sealed partial record InfluenceFunction
{
    /// <summary>
    /// Position-wise scores, s_t = sum over layers of d_t' (H + damping I)^-1 grad f(q) a_t: what the change of parameters at the
    /// hidden position t of the training example, caused by all later losses, does for the query.
    /// </summary>
    /// <remarks>
    /// Not the influence of predicting token t: that is <see cref="ScoreLossTokens"/>. They coincide in the last layer. Meant for
    /// a few examples, the strongest of <see cref="PairEstimators.Score"/>: <c>train.Only(ids)</c>. Layers without the examples' positions
    /// (the head over a pooled text, a layer that is called twice) are left out, and <see cref="ScoreMetadata.Notes"/> names them: the
    /// scores then sum over T to those of the other layers.
    /// </remarks>
    /// <param name="task">The model at the weights of the fit, and its loss.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns><c>[Q, N, T]</c>; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, a normalisation, no layer with the examples' positions, or more numbers than
    /// <see cref="MemoryBudget"/> holds.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public TokenScores ScorePositions(
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        PositionProducts? products = null;
        var scores = Tokens(
            task,
            train,
            queries,
            "per position",
            (session, directions) =>
            {
                products = new PositionProducts(session.BlockNames);
                return examples =>
                {
                    using var batch = session.Capture(examples, LossKind.Training);
                    return products.Of(directions, batch).cpu().DetachFromDisposeScope();
                };
            },
            progress,
            cancellationToken
        );
        return products!.LeftOut.Count == 0
            ? scores
            : scores.WithNote($"left out, as their positions are not the examples' own: {InfluenceException.List(products.LeftOut)}");
    }

    /// <summary>
    /// Loss-token scores, s_t = grad f(q)' (H + damping I)^-1 grad l_t(z) with l_t the loss of predicting token t: which of the
    /// example's predictions the query profits from.
    /// </summary>
    /// <remarks>Exact, by differentiating twice: for each batch one forward and backward pass, and one more backward pass for each
    /// query.</remarks>
    /// <param name="task">The model at the weights of the fit, and its loss.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="tokenLosses">
    /// The training loss before its sum over tokens, <c>[B, T]</c>:
    /// <c>b => Losses.TokenCrossEntropy(model.call(b["x"]), b["y"], b["mask"])</c>.
    /// </param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns><c>[Q, N, T]</c>; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, a normalisation, token losses that do not sum to the training loss, a position mask,
    /// a model that cannot be differentiated twice, or more numbers than <see cref="MemoryBudget"/> holds.</exception>
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
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(tokenLosses);
        if (task.PositionMask is not null)
        {
            throw new InfluenceException(
                "Scores per loss token follow the token losses as they are, which know no PositionMask. Mask inside the model or the "
                    + "losses, and leave PositionMask out."
            );
        }

        return Tokens(
            task,
            train,
            queries,
            "per loss token",
            (session, directions) =>
            {
                var derivatives = new TokenLossDerivatives(session, tokenLosses);
                return examples =>
                {
                    using var scope = NewDisposeScope();
                    return derivatives.Of(examples, directions, queries.Count).cpu().DetachFromDisposeScope();
                };
            },
            progress,
            cancellationToken
        );
    }

    private TokenScores Tokens(
        InfluenceTask task,
        Examples train,
        Examples queries,
        string what,
        Func<GradientSession, IReadOnlyList<Tensor[]?>, Func<ExampleBatch, Tensor>> scorer,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token
    )
    {
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        RefuseNormalization(what);
        RefuseAggregation(what);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var reporter = new ProgressReporter(progress, $"scoring {what}", 1, train.Count, token);
        using var session = GradientSession.Open(task, train, queries, memory: MemoryBudget);
        using var inverse = _preconditioner.Prepare(session, Damping, 0, token);
        var directions = Directions(session, inverse, queries, scope, token);
        var score = scorer(session, directions);
        var parts = new List<Tensor>();
        foreach (var examples in session.Batches(train, LossKind.Training))
        {
            token.ThrowIfCancellationRequested();
            var values = score(examples); // [Q, B, T]
            scope.Attach(values);
            parts.Add(values);
            CheckRoom(queries.Count, train.Count, values);
            reporter.Add(examples.Count);
        }

        return new TokenScores(
            Join(parts),
            queries.Ids,
            train.Ids,
            Metadata(task, session, inverse) with
            {
                Estimator = $"{Name}, {what}",
                LeaveOneOutFactor = 1.0 / _preconditioner.Info.Examples,
            }
        );
    }

    /// <summary>(H + damping I)^-1 grad f(q) of every query, written out; per block one part a parameter, <c>[Q, P_k]</c>.</summary>
    private Tensor[]?[] Directions(
        GradientSession session,
        Curvature.Inverse inverse,
        Examples queries,
        DisposeScope owner,
        CancellationToken token
    )
    {
        var bytes = (double)queries.Count * session.Parts.Sum(parts => parts.Sum(p => p.Count)) * session.Dtype.ElementSize();
        if (bytes > MemoryBudget)
        {
            throw new InfluenceException(
                $"{queries.Count} queries written out take {bytes / (1 << 20):N0} MiB, and MemoryBudget is {MemoryBudget / (1 << 20):N0} "
                    + "MiB. Score fewer queries at once, or raise MemoryBudget."
            );
        }

        var found = new Tensor[]?[session.Parts.Count];
        long first = 0;
        foreach (var examples in session.Batches(queries, LossKind.Measurement))
        {
            token.ThrowIfCancellationRequested();
            using var batch = session.Capture(examples, LossKind.Measurement);
            using var written = inverse.Written(batch);
            for (var k = 0; k < found.Length; k++)
            {
                if (written.Blocks[k] is not { } block)
                {
                    continue;
                }

                var dense = block.Dense();
                found[k] ??= [.. dense.Select(part => Owned(zeros([queries.Count, part.shape[1]], part.dtype, part.device)))];
                for (var p = 0; p < dense.Length; p++)
                {
                    found[k]![p].narrow(0, first, batch.Count).copy_(dense[p]);
                }

                block.Release();
                batch.Blocks[k]?.Release();
            }

            first += batch.Count;
        }

        return found;

        Tensor Owned(Tensor tensor)
        {
            owner.Attach(tensor);
            return tensor;
        }
    }

    private void CheckRoom(int queries, int train, Tensor values)
    {
        var bytes = (double)queries * train * values.shape[2] * values.dtype.ElementSize();
        if (bytes > MemoryBudget)
        {
            throw new InfluenceException(
                $"{queries} x {train} x {values.shape[2]} scores take {bytes / (1 << 20):N0} MiB, and MemoryBudget is "
                    + $"{MemoryBudget / (1 << 20):N0} MiB. Score the strongest examples only: train.Only(scores.Proponents(query, "
                    + "10).Select(e => e.Id))."
            );
        }
    }

    /// <summary>Batches of several lengths are filled up with zeros.</summary>
    private static Tensor Join(List<Tensor> parts)
    {
        var longest = parts.Max(p => p.shape[2]);
        return cat([.. parts.Select(Filled)], 1);

        Tensor Filled(Tensor part) =>
            part.shape[2] == longest ? part : cat([part, zeros([part.shape[0], part.shape[1], longest - part.shape[2]], part.dtype)], 2);
    }

    private void RefuseAggregation(string what)
    {
        if (Aggregation != QueryAggregation.None)
        {
            throw new InfluenceException(
                $"Scores {what} are given query by query. Leave Aggregation at None, and sum the result over its queries."
            );
        }
    }
}
