using TorchSharp;
using static TorchSharp.torch;

namespace Samples.Images;

/// <summary>What the trained model makes of images.</summary>
internal static class Evaluation
{
    private const int BatchSize = 500;

    /// <summary>The class of each image with the highest logit.</summary>
    public static long[] Predictions(nn.Module<Tensor, Tensor> model, Tensor images, CancellationToken cancellationToken)
    {
        using var _ = no_grad();
        var values = new List<long>((int)images.shape[0]);
        for (long start = 0; start < images.shape[0]; start += BatchSize)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var batch = images.narrow(0, start, Math.Min(BatchSize, images.shape[0] - start));
            values.AddRange(model.call(batch).argmax(1).data<long>().ToArray());
        }

        return [.. values];
    }

    /// <summary>Positions of images to explain: wrong predictions first, then right ones, each in the order of the set.</summary>
    /// <param name="predictions">The class that the model says, of each image.</param>
    /// <param name="labels">The right ones.</param>
    /// <param name="wrong">The most wrong predictions.</param>
    /// <param name="count">How many images.</param>
    public static int[] WrongFirst(IReadOnlyList<long> predictions, IReadOnlyList<byte> labels, int wrong, int count)
    {
        var first = Where(right: false).Take(wrong).ToArray();
        return [.. first, .. Where(right: true).Take(count - first.Length)];

        IEnumerable<int> Where(bool right) => Enumerable.Range(0, labels.Count).Where(i => predictions[i] == labels[i] == right);
    }
}
