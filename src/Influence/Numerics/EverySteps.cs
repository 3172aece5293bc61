namespace Influence.Numerics;

/// <summary>Counts steps of a training loop and says when it is time again.</summary>
internal sealed class EverySteps
{
    /// <param name="every">Steps from one time to the next.</param>
    /// <param name="what">What is done then: "A mixture is measured anew".</param>
    public EverySteps(long every, string what) =>
        Every = every > 0 ? every : throw new InfluenceException($"{what} every so many steps, at least 1; everySteps is {every}.");

    /// <summary>Steps from one time to the next.</summary>
    public long Every { get; }

    /// <summary>Steps so far.</summary>
    public long Count { get; private set; }

    /// <summary>Counts a step, and says whether it is time.</summary>
    public bool Step() => ++Count % Every == 0;
}
