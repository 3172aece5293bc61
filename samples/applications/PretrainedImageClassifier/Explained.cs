namespace PretrainedImageClassifier;

/// <summary>Which test images are explained.</summary>
internal static class Explained
{
    private const int Wrong = 5;
    private const int Count = 8;

    /// <summary>Wrong predictions first, then right ones, each in the order of the test set.</summary>
    public static int[] Choose(IReadOnlyList<long> predictions, IReadOnlyList<byte> labels)
    {
        var wrong = Where(right: false).Take(Wrong).ToArray();
        return [.. wrong, .. Where(right: true).Take(Count - wrong.Length)];

        IEnumerable<int> Where(bool right) => Enumerable.Range(0, predictions.Count).Where(i => predictions[i] == labels[i] == right);
    }
}
