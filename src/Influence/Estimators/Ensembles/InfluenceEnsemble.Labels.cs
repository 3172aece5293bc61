using Influence.Curvature;

namespace Influence.Estimators;

public sealed partial record InfluenceEnsemble
{
    /// <summary>
    /// Seeds lie so far apart that no two fits have a draw in common: draws of one fit have seeds one after the other.
    /// </summary>
    private const int SeedBits = 32;

    /// <summary>Takes a way to fit curvature with labels by a seed; the members are fits of one model, <see cref="LabelFits"/> of
    /// them.</summary>
    /// <remarks>
    /// The labels of a sampled Fisher matrix are drawn, so that scores are an estimate of those with no end of labels; the standard
    /// deviation over fits says how good one, and falls as 1 / sqrt(labels drawn). It costs no training. It does not say what another run
    /// would change, which is usually more: for that, members are models of separate runs.
    /// </remarks>
    /// <param name="fit">Fits a preconditioner at a task's current weights with the labels of the given seed; it is disposed after
    /// use.</param>
    /// <example>
    /// <code>
    /// var ensemble = new InfluenceEnsemble((task, seed) => Ekfac.Fit(task, train, new() { Seed = seed })) { LabelFits = 8 };
    /// using var scores = ensemble.ScoreWithSpread(task, train, queries);
    /// double error = scores.CurvatureError(0, 0);
    /// </code>
    /// </example>
    public InfluenceEnsemble(Func<InfluenceTask, long, Preconditioner> fit)
    {
        ArgumentNullException.ThrowIfNull(fit);
        (_fit, DrawsLabels) = (fit, true);
    }

    /// <summary>How many fits with labels of their own, where the way to fit takes a seed.</summary>
    /// <value>5.</value>
    /// <exception cref="InfluenceException">Less than 1, or the way to fit takes no seed.</exception>
    public int LabelFits
    {
        get;
        init =>
            field = DrawsLabels
                ? Check.AtLeastOne(value)
                : throw new InfluenceException(
                    "LabelFits needs a way to fit that takes a seed: new InfluenceEnsemble((task, seed) => Ekfac.Fit(task, train, "
                        + "new() { Seed = seed }))."
                );
    } = 5;

    private bool DrawsLabels { get; }

    private Preconditioner Fitted(InfluenceTask task, int member)
    {
        var seed = DrawsLabels ? (long)member << SeedBits : 0;
        var fit = _fit(task, seed);
        if (!DrawsLabels)
        {
            return fit;
        }

        var problem =
            fit.Info.Seed != seed
                ? $"The fit has the seed {fit.Info.Seed}, not {seed}: pass it on, new InfluenceEnsemble((task, seed) => Ekfac.Fit(task, "
                    + "train, new() { Seed = seed }))."
            : fit.Info.Matrix.StartsWith("empirical", StringComparison.Ordinal)
                ? $"{fit.Info.Method} was fitted with the data's own labels ({fit.Info.Matrix}): none are drawn, and another seed changes "
                    + "nothing. Write Fisher = Fisher.Sampled."
            : null;
        if (problem is null)
        {
            return fit;
        }

        fit.Dispose();
        throw new InfluenceException(problem);
    }

    private void CheckLabelFits()
    {
        if (DrawsLabels && (OtherModels.Count > 0 || Checkpoints is { Count: > 1 }))
        {
            throw new InfluenceException(
                "Fits with other labels are fits of one model: their spread would be mixed up with that between models. Leave OtherModels "
                    + "out, and Checkpoints or all but one; or write new InfluenceEnsemble(task => ...)."
            );
        }
    }
}
