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
    }
}
