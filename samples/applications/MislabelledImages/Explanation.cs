using Influence;
using Influence.Estimators;
using TorchSharp;
using static TorchSharp.torch;

namespace MislabelledImages;

/// <summary>One test image and the training images that did most for and against its right answer.</summary>
/// <param name="TestImage">Its position in the test set.</param>
/// <param name="Predicted">The class that the model says.</param>
/// <param name="Proponents">Training on these lowered the loss of the image's own class most.</param>
/// <param name="Opponents">Training on these raised it most.</param>
internal sealed record Explanation(int TestImage, int Predicted, RankedExamples Proponents, RankedExamples Opponents)
{
    private const int Wrong = 7;
    private const int Count = 10;
    private const int Strongest = 3;

    /// <summary>Wrong predictions first, then right ones, each in the order of the test set.</summary>
    public static int[] ChooseTestImages(IReadOnlyList<long> predictions, IReadOnlyList<byte> labels)
    {
        var wrong = Where(right: false).Take(Wrong).ToArray();
        return [.. wrong, .. Where(right: true).Take(Count - wrong.Length)];

        IEnumerable<int> Where(bool right) => Enumerable.Range(0, labels.Count).Where(i => predictions[i] == labels[i] == right);
    }

    public static IReadOnlyList<Explanation> Explain(
        TracIn tracIn,
        InfluenceTask task,
        Examples train,
        Tensor testImages,
        LabelledImages test,
        IReadOnlyList<long> predictions,
        IProgress<InfluenceProgress> progress,
        CancellationToken cancellationToken)
    {
        var chosen = ChooseTestImages(predictions, test.Labels);
        using var scope = NewDisposeScope();
        var images = testImages.index_select(0, tensor(chosen.Select(i => (long)i).ToArray()));
        var labels = tensor(chosen.Select(i => (long)test.Labels[i]).ToArray());
        var queries = Examples.FromTensors(("image", images), ("label", labels));
        using var scores = tracIn.Score(task, train, queries, progress, cancellationToken);
        return
        [
            .. chosen.Select((image, query) => new Explanation(
                image, (int)predictions[image], scores.Proponents(query, Strongest), scores.Opponents(query, Strongest))),
        ];
    }
}
