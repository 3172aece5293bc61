using Influence;
using Influence.Estimators;
using TorchSharp;
using static TorchSharp.torch;

namespace MislabelledImages;

/// <summary>The test images whose predictions are explained.</summary>
internal static class TestImages
{
    private const int Wrong = 7;
    private const int Count = 10;

    /// <summary>Wrong predictions first, then right ones, each in the order of the test set.</summary>
    public static int[] Choose(IReadOnlyList<long> predictions, IReadOnlyList<byte> labels)
    {
        var wrong = Where(right: false).Take(Wrong).ToArray();
        return [.. wrong, .. Where(right: true).Take(Count - wrong.Length)];

        IEnumerable<int> Where(bool right) => Enumerable.Range(0, labels.Count).Where(i => predictions[i] == labels[i] == right);
    }

    /// <summary>The scores of all training images for the chosen ones, which are the queries 0, 1, 2, ...</summary>
    public static InfluenceScores Score(
        TracIn tracIn,
        InfluenceTask task,
        Examples train,
        int[] chosen,
        Tensor testImages,
        LabelledImages test,
        IProgress<InfluenceProgress> progress,
        CancellationToken cancellationToken
    )
    {
        using var scope = NewDisposeScope();
        var images = testImages.index_select(0, tensor(chosen.Select(i => (long)i).ToArray()));
        var labels = tensor(chosen.Select(i => (long)test.Labels[i]).ToArray());
        var queries = Examples.FromTensors(("image", images), ("label", labels));
        return tracIn.Score(task, train, queries, progress, cancellationToken);
    }
}
