using Influence;
using TorchSharp;
using static TorchSharp.torch;

namespace UnlearningSample;

/// <summary>Images to forget, with what they are judged beside. Ids: training images by position, test images from
/// <see cref="FirstTestId"/>, peers after them.</summary>
internal sealed class ForgetSet : IDisposable
{
    private const long FirstTestId = 1_000_000;
    private const int KeptSample = 500;
    private const int TestImages = 1_000;
    private const int ForgottenClass = 6;

    private readonly Tensor _images;
    private readonly Tensor _labels;
    private readonly List<Tensor> _owned = [];

    private ForgetSet(
        string name,
        LabelledImages train,
        Tensor labels,
        LabelledImages test,
        IReadOnlyList<long> forget,
        Func<int, bool> isTest,
        Func<int, (bool Is, long Label)> peer
    )
    {
        Name = name;
        (_images, _labels) = (train.ToTensor(), labels);
        TrainIds = [.. Enumerable.Range(0, train.Count).Select(i => (long)i)];
        Forget = forget;
        var rest = TrainIds.Except(forget).ToArray();
        Randomness.For(1, "kept images that are judged").Shuffle(rest);
        Keep = [.. rest.Take(KeptSample).Order()];
        Train = Examples.FromTensors(("image", _images), ("label", _labels));
        using var testImages = test.ToTensor();
        int[] tested = [.. Enumerable.Range(0, test.Count).Where(isTest).Take(TestImages)];
        int[] peers = [.. Enumerable.Range(0, test.Count).Where(i => peer(i).Is).Take(TestImages)];
        TestExamples = Of(testImages, tested, i => test.Labels[i], FirstTestId);
        PeerExamples = Of(testImages, peers, i => peer(i).Label, FirstTestId * 2);
        ForgetExamples = Some(forget);
        KeepExamples = Some(Keep);
    }

    public string Name { get; }

    public IReadOnlyList<long> TrainIds { get; }

    public IReadOnlyList<long> Forget { get; }

    /// <summary>A sample of the kept images.</summary>
    public IReadOnlyList<long> Keep { get; }

    public Examples Train { get; }

    public Examples ForgetExamples { get; }

    public Examples KeepExamples { get; }

    public Examples TestExamples { get; }

    /// <summary>Test images of the forgotten ones' kind.</summary>
    public Examples PeerExamples { get; }

    public static ForgetSet Make(string name, LabelledImages train, LabelledImages test, int count)
    {
        var clean = tensor(train.Labels.Select(label => (long)label).ToArray());
        switch (name)
        {
            case "class":
                return new ForgetSet(
                    $"the class {LabelledImages.ClassName(ForgottenClass)}",
                    train,
                    clean,
                    test,
                    Where(i => train.Labels[i] == ForgottenClass),
                    i => test.Labels[i] != ForgottenClass,
                    i => (test.Labels[i] == ForgottenClass, ForgottenClass)
                );
            case "random":
                var order = Enumerable.Range(0, train.Count).Select(i => (long)i).ToArray();
                Randomness.For(1, "images to forget").Shuffle(order);
                return new ForgetSet(
                    $"{count} random images",
                    train,
                    clean,
                    test,
                    [.. order.Take(count).Order()],
                    _ => true,
                    i => (true, test.Labels[i])
                );
            case "mislabelled":
                clean.Dispose();
                var flipped = FlippedLabels.Flip(train.Labels, (double)count / train.Count, seed: 1);
                var flippedTest = FlippedLabels.Flip(test.Labels, 1, seed: 2);
                return new ForgetSet(
                    $"{flipped.FlippedCount} mislabelled images",
                    train,
                    flipped.ToTensor(),
                    test,
                    Where(i => flipped.IsFlipped[i]),
                    _ => true,
                    i => (true, flippedTest.Given[i])
                );
            default:
                clean.Dispose();
                throw new SampleException($"There is no set \"{name}\"; there are class, random and mislabelled.");
        }

        long[] Where(Func<int, bool> holds) => [.. Enumerable.Range(0, train.Count).Where(holds).Select(i => (long)i)];
    }

    /// <summary>The training images of some ids.</summary>
    public (Tensor Images, Tensor Labels) Rows(IReadOnlyList<long> ids)
    {
        using var index = tensor(ids.ToArray());
        return (_images.index_select(0, index), _labels.index_select(0, index));
    }

    public Examples Some(IReadOnlyList<long> ids)
    {
        var (images, labels) = Rows(ids);
        _owned.AddRange([images, labels]);
        return Examples.FromTensors(("image", images), ("label", labels)) with { Ids = ids };
    }

    public void Dispose()
    {
        _images.Dispose();
        _labels.Dispose();
        _owned.ForEach(tensor => tensor.Dispose());
    }

    private Examples Of(Tensor images, int[] positions, Func<int, long> label, long first)
    {
        using var index = tensor(positions.Select(i => (long)i).ToArray());
        var (chosen, labels) = (images.index_select(0, index), tensor(positions.Select(label).ToArray()));
        _owned.AddRange([chosen, labels]);
        return Examples.FromTensors(("image", chosen), ("label", labels)) with { Ids = [.. positions.Select(i => first + i)] };
    }
}
