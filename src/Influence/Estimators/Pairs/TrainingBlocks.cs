namespace Influence.Estimators;

/// <summary>Training examples cut into as many as a sink takes at once, for estimators that go several times over each.</summary>
internal static class TrainingBlocks
{
    /// <summary>The blocks in order, with the position of each one's first example; one block is the examples themselves.</summary>
    public static IEnumerable<(int First, Examples Examples)> Of(Examples train, int atOnce)
    {
        for (var first = 0; first < train.Count; first += atOnce)
        {
            yield return (first, atOnce >= train.Count ? train : train.Range(first, Math.Min(atOnce, train.Count - first)));
        }
    }
}
