namespace Influence.Estimators;

public sealed partial record InfluenceEnsemble
{
    /// <summary>
    /// Whether <see cref="Checkpoints"/> are of separate runs, as the last checkpoint of each of several seeds. Checkpoints of one run
    /// resemble each other: their differences are a spread and give no interval.
    /// </summary>
    /// <value>False: two checkpoints or more are of one run.</value>
    public bool SeparateRuns { get; init; }

    /// <summary>
    /// The scores of all members with their spread: mean, standard deviation, agreement of signs and of the strongest proponents, and, for
    /// members of separate runs, intervals and the pairs whose interval excludes zero. Of fits with other labels the spread is the
    /// <see cref="Result.CurvatureError"/>.
    /// </summary>
    /// <remarks>One member at a time: memory of one fit, one score matrix and 28 bytes a pair, whatever the number of members.</remarks>
    /// <param name="task">The model and its loss. The model is left as it was found, its weights too.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="topK">How many proponents of each query are compared between members; at most N.</param>
    /// <param name="progress">Told after each batch, on the calling thread.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The scores with their spread; the caller disposes them. Their <see cref="Result.Mean"/> is that of <c>Score</c>.</returns>
    /// <exception cref="InfluenceException">Bad input, or fewer than two members.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    /// <example>
    /// <code>
    /// var ensemble = new InfluenceEnsemble(task => Ekfac.Fit(task, train)) { OtherModels = seeds };
    /// using var scores = ensemble.ScoreWithSpread(task, train, queries);
    /// Console.WriteLine(scores.StablePairs());
    /// </code>
    /// </example>
    public Result ScoreWithSpread(
        InfluenceTask task,
        Examples train,
        Examples queries,
        int topK = 10,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        CheckLabelFits();
        if (MemberCount < 2)
        {
            throw new InfluenceException(
                "A spread needs at least two members; found one. Write OtherModels = [...], or Checkpoints = [...] with two or more"
                    + (DrawsLabels ? ", or LabelFits = 5." : ".")
            );
        }

        var members =
            DrawsLabels ? Kind.LabelDraws
            : OwnMembers > 1 && !SeparateRuns ? Kind.OneRun
            : Kind.SeparateRuns;
        return Result.Of(Members(), members, topK, Described());

        IEnumerable<InfluenceScores> Members()
        {
            using var weights = new WeightKeeper(task.Model, Checkpoints ?? []);
            for (var member = 0; member < MemberCount; member++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var model = Member(member, task, weights);
                using var preconditioner = Fitted(model, member);
                using var scores = Function(preconditioner).Score(model, train, queries, progress, cancellationToken);
                yield return scores;
            }
        }
    }
}
