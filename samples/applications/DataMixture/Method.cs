using Influence;
using Influence.Groups;
using Influence.Mixtures;

namespace DataMixture;

/// <summary>A way to find a mixture.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Start">The mixture of the first steps; of all steps where nothing is measured or tried.</param>
internal sealed record Method(string Name, Mixture Start)
{
    /// <summary>From a measurement and the present mixture to the next; null: the mixture stays.</summary>
    public NextMixture? Next { get; init; }

    /// <summary>The same for methods that remember what they measured: begun anew with each run.</summary>
    public Func<NextMixture>? Begin { get; init; }

    /// <summary>Finds the mixture of the whole run before it begins, by trial trainings of its own; null: <see cref="Start"/> is
    /// that.</summary>
    public Func<Trials, Mixture>? Find { get; init; }

    public MeasurementSize Size { get; init; }

    /// <summary>The step of the first measurement: early, but not before the model knows more than how often each byte comes.</summary>
    public int FirstAt { get; init; } = 50;

    /// <summary>Re-measurements come after each such share of the run.</summary>
    public double Every { get; init; } = 1.0 / 3;

    internal delegate Mixture NextMixture(
        Measurement measurement,
        GroupScores scores,
        Mixture present,
        IProgress<InfluenceProgress>? progress,
        CancellationToken cancellationToken
    );
}
