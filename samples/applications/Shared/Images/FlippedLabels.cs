using TorchSharp;
using static TorchSharp.torch;

namespace Samples.Images;

/// <summary>
/// The labels that the model is given: a share of them, drawn at random, is replaced by another class, each of the nine
/// others as likely.
/// </summary>
internal sealed class FlippedLabels
{
    private FlippedLabels(byte[] given, bool[] isFlipped)
    {
        Given = given;
        IsFlipped = isFlipped;
    }

    public IReadOnlyList<byte> Given { get; }

    public IReadOnlyList<bool> IsFlipped { get; }

    public int FlippedCount => IsFlipped.Count(flipped => flipped);

    public static FlippedLabels Flip(IReadOnlyList<byte> labels, double share, int seed)
    {
        var random = Randomness.For(seed, "flipped labels");
        var given = labels.ToArray();
        var isFlipped = new bool[given.Length];
        var positions = Enumerable.Range(0, given.Length).ToArray();
        random.Shuffle(positions);
        foreach (var position in positions.Take((int)Math.Round(share * given.Length)))
        {
            given[position] = (byte)((given[position] + random.Next(1, LabelledImages.ClassCount)) % LabelledImages.ClassCount);
            isFlipped[position] = true;
        }

        return new FlippedLabels(given, isFlipped);
    }

    /// <summary>The given labels, <c>[N]</c>, int64.</summary>
    public Tensor ToTensor() => tensor(Given.Select(label => (long)label).ToArray());
}
