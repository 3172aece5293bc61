namespace Influence.Estimators;

/// <summary>What estimators that take several checkpoints do with the list that they are given.</summary>
internal static class CheckpointList
{
    /// <summary>A copy; null stays null, and too few are refused.</summary>
    /// <param name="given">What the user gave.</param>
    /// <param name="least">How many the formula needs.</param>
    /// <param name="why">What they are needed for.</param>
    public static IReadOnlyList<Checkpoint>? Copy(IReadOnlyList<Checkpoint>? given, int least, string why) =>
        given switch
        {
            null => null,
            _ when given.Contains(null!) => throw new InfluenceException(
                "Checkpoints holds a null. Write recorder.Checkpoints, or Checkpoint.FromFile(path) for each file."
            ),
            _ when given.Count < least => throw new InfluenceException(
                $"At least {least} checkpoint{(least == 1 ? " is" : "s are")} needed, {why}; found {given.Count}. Has the recorder "
                    + "saved none yet (EverySteps above the number of steps)? Write recorder.Save(model, optimizer) where more are "
                    + "wanted."
            ),
            _ => [.. given],
        };

    /// <summary>The steps, for the scores' metadata.</summary>
    public static string Describe(IReadOnlyList<Checkpoint>? checkpoints) =>
        checkpoints is null ? "current weights" : $"steps {string.Join(", ", checkpoints.Select(c => c.Step))}, all alike";
}
