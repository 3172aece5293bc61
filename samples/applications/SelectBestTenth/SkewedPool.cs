using TorchSharp;
using static TorchSharp.torch;

namespace SelectBestTenth;

/// <summary>
/// A pool to choose from and a target to choose for. Three classes that are hard to tell apart are the target; few images of
/// the pool are of these, the other classes have very different sizes, and nearly a third of the labels are wrong.
/// </summary>
internal sealed class SkewedPool : IDisposable
{
    private const double FlippedShare = 0.3;
    private const int TargetImagesPerClass = 60;

    // Pullover, coat, shirt.
    private static readonly byte[] s_targetClasses = [2, 4, 6];

    // Of 20,000 images: three target classes of 1,000 each, and the others from 500 to 5,000.
    private static readonly int[] s_perTwentyThousand = [5000, 3000, 1000, 4000, 1000, 2000, 1000, 1500, 500, 1000];

    private readonly FlippedLabels _labels;
    private readonly byte[] _classes;

    private SkewedPool(LabelledImages pool, LabelledImages target, LabelledImages test, int seed)
    {
        _labels = FlippedLabels.Flip(pool.Labels, FlippedShare, seed);
        _classes = [.. pool.Labels];
        (Images, Labels) = (pool.ToTensor(), _labels.ToTensor());
        (TargetImages, TargetLabels) = (target.ToTensor(), ToTensor(target.Labels));
        (TestImages, TestLabels) = (test.ToTensor(), ToTensor(test.Labels));
        TargetTasks = [.. target.Labels.Select(label => LabelledImages.ClassName(label))];
    }

    public int Count => _classes.Length;

    /// <summary><c>[N, 1, 28, 28]</c>; an image's row is its id.</summary>
    public Tensor Images { get; }

    /// <summary>As given, some of them wrong, <c>[N]</c>.</summary>
    public Tensor Labels { get; }

    /// <summary>Clean images of the target's classes, <c>[M, 1, 28, 28]</c>.</summary>
    public Tensor TargetImages { get; }

    public Tensor TargetLabels { get; }

    /// <summary>The target's images by class: the tasks that are to be served.</summary>
    public IReadOnlyList<string> TargetTasks { get; }

    /// <summary>The test images of the target's classes.</summary>
    public Tensor TestImages { get; }

    public Tensor TestLabels { get; }

    /// <summary>The classes as the labels give them, for strategies that go by class.</summary>
    public IReadOnlyList<string> GivenClasses => [.. _labels.Given.Select(label => LabelledImages.ClassName(label))];

    public static SkewedPool Read(string folder, int count, int seed)
    {
        var all = FashionMnist.ReadTraining(folder, 60_000);
        var test = FashionMnist.ReadTest(folder);
        var order = Enumerable.Range(0, all.Count).ToArray();
        Randomness.For(seed, "images of the pool").Shuffle(order);
        var (pool, target) = (new List<int>(), new List<int>());
        for (var label = 0; label < LabelledImages.ClassCount; label++)
        {
            var ofClass = order.Where(i => all.Labels[i] == label).ToList();
            var wanted = (int)Math.Round(s_perTwentyThousand[label] * (count / 20_000.0));
            if (wanted + TargetImagesPerClass > ofClass.Count)
            {
                throw new SampleException(
                    $"Fashion-MNIST has {ofClass.Count:N0} images of {LabelledImages.ClassName(label)}; a pool of "
                        + $"{count:N0} needs {wanted:N0}. Ask for fewer: --images N."
                );
            }

            pool.AddRange(ofClass.Take(wanted));
            target.AddRange(s_targetClasses.Contains((byte)label) ? ofClass.Skip(wanted).Take(TargetImagesPerClass) : []);
        }

        Randomness.For(seed, "order of the pool").Shuffle(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(pool));
        return new SkewedPool(
            all.At(pool),
            all.At(target),
            test.At([.. Enumerable.Range(0, test.Count).Where(i => s_targetClasses.Contains(test.Labels[i]))]),
            seed
        );
    }

    public bool IsMislabelled(long id) => _labels.IsFlipped[(int)id];

    public bool IsOnTarget(long id) => s_targetClasses.Contains(_classes[id]);

    public override string ToString()
    {
        var onTarget = Enumerable.Range(0, Count).Count(i => IsOnTarget(i));
        var useful = Enumerable.Range(0, Count).Count(i => IsOnTarget(i) && !IsMislabelled(i));
        return $"Pool: {Count:N0} images, {_labels.FlippedCount:N0} mislabelled, {onTarget:N0} of the target's classes "
            + $"({string.Join(", ", s_targetClasses.Select(c => LabelledImages.ClassName(c)))}), {useful:N0} of these rightly labelled. "
            + $"Target: {TargetImages.shape[0]} clean images. Test: {TestImages.shape[0]:N0} images.";
    }

    public void Dispose()
    {
        foreach (var held in new[] { Images, Labels, TargetImages, TargetLabels, TestImages, TestLabels })
        {
            held.Dispose();
        }
    }

    private static Tensor ToTensor(IEnumerable<byte> labels) => tensor(labels.Select(label => (long)label).ToArray());
}
