using Influence.Groups;

namespace PretrainedTextClassifier;

/// <summary>What leaving out a source is predicted to do to the test mails' mean loss.</summary>
/// <param name="Method">How it was predicted.</param>
/// <param name="Unit">What a score counts for in the unit of the loss.</param>
/// <param name="Scores">Summed over each source's mails; one row.</param>
internal sealed record SourceForecast(string Method, double Unit, GroupScores Scores)
{
    /// <summary>The predicted rise without the source.</summary>
    public double Rise(int source) => Scores.Sum(0, source) * Unit;
}
