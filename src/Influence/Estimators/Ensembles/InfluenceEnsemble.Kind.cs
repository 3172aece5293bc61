namespace Influence.Estimators;

public sealed partial record InfluenceEnsemble
{
    /// <summary>What the members of an ensemble are to each other: it decides what their differences can say.</summary>
    public enum Kind
    {
        /// <summary>Trained apart, as with seeds of their own: their mean has a standard error and an interval.</summary>
        SeparateRuns,

        /// <summary>Checkpoints of one run. They resemble each other, so their spread says how scores move along the run, and nothing of
        /// another run.</summary>
        OneRun,

        /// <summary>
        /// Fits of one model's curvature, each with other labels drawn. Their spread is the curvature estimation error: what another seed
        /// of labels would change, and nothing of what another run would. The mean's interval holds the scores of a fit with no end of
        /// labels.
        /// </summary>
        LabelDraws,
    }
}
