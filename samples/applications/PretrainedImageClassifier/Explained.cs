using Influence;

namespace PretrainedImageClassifier;

/// <summary>One test image and the training images that did most for and against its right answer.</summary>
/// <param name="TestImage">Its position in the test set.</param>
/// <param name="Predicted">The class that the model says.</param>
/// <param name="Proponents">Training on these lowered the loss of the image's own class most.</param>
/// <param name="Opponents">Training on these raised it most.</param>
internal sealed record Explained(int TestImage, int Predicted, RankedExamples Proponents, RankedExamples Opponents)
{
    private const int Wrong = 5;
    private const int Count = 8;
    private const int Strongest = 3;

    /// <summary>Wrong predictions first, then right ones, each in the order of the test set.</summary>
    public static int[] Choose(IReadOnlyList<long> predictions, IReadOnlyList<byte> labels)
    {
        var wrong = Where(right: false).Take(Wrong).ToArray();
        return [.. wrong, .. Where(right: true).Take(Count - wrong.Length)];

        IEnumerable<int> Where(bool right) => Enumerable.Range(0, predictions.Count).Where(i => predictions[i] == labels[i] == right);
    }

    public static Explained Of(InfluenceScores scores, int image, int predicted)
    {
        var row = scores.QueryIds.Index().Single(id => id.Item == image).Index;
        return new Explained(image, predicted, scores.Proponents(row, Strongest), scores.Opponents(row, Strongest));
    }
}
