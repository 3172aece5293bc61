using System.Globalization;
using Influence;
using Influence.Unlearning;
using TorchSharp;
using static TorchSharp.torch;

namespace UnlearningSample;

/// <summary>Images to forget: a class, some drawn at random, or those whose labels are wrong.</summary>
internal sealed class ImageSet : ForgetSet
{
    private const int KeptSample = 500;
    private const int TestImages = 1_000;
    private const int ForgottenClass = 6;

    private readonly Tensor _images;
    private readonly Tensor _labels;
    private readonly Trainer _trainer;
    private readonly List<Tensor> _owned = [];

    private ImageSet(
        string name,
        Trainer trainer,
        LabelledImages train,
        Tensor labels,
        LabelledImages test,
        IReadOnlyList<long> forget,
        Func<int, bool> isTest,
        Func<int, (bool Is, long Label)> peer
    )
        : base(name, train.Count, forget, KeptSample)
    {
        _trainer = trainer;
        (_images, _labels) = (train.ToTensor(), labels);
        Train = Examples.FromTensors(("image", _images), ("label", _labels));
        using var testImages = test.ToTensor();
        int[] tested = [.. Enumerable.Range(0, test.Count).Where(isTest).Take(TestImages)];
        int[] peers = [.. Enumerable.Range(0, test.Count).Where(i => peer(i).Is).Take(TestImages)];
        TestExamples = Of(testImages, tested, i => test.Labels[i], FirstTestId);
        PeerExamples = Of(testImages, peers, i => peer(i).Label, FirstTestId * 2);
        ForgetExamples = Some(forget);
        KeepExamples = Some(Keep);
    }

    public override string About =>
        $"A small CNN (28,938 parameters) trained on {TrainIds.Count:N0} images for {_trainer.Epochs} epochs; unseen ones are test images.";

    public override string RetrainingSettings =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"small CNN, {TrainIds.Count} images, {_trainer.Epochs} epochs, {Name}, test and peers 2"
        );

    public override double RateScale => 1;

    public override double RelearningRate => 0.05;

    public static ImageSet Make(string name, Trainer trainer, LabelledImages train, LabelledImages test, int count)
    {
        var clean = tensor(train.Labels.Select(label => (long)label).ToArray());
        switch (name)
        {
            case "class":
                return new ImageSet(
                    $"the class {LabelledImages.ClassName(ForgottenClass)}",
                    trainer,
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
                return new ImageSet(
                    $"{count} random images",
                    trainer,
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
                return new ImageSet(
                    $"{flipped.FlippedCount} mislabelled images",
                    trainer,
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

    public override nn.Module<Tensor, Tensor> TrainedOn(IReadOnlyList<long> ids, int seed, CancellationToken cancellationToken)
    {
        var (images, labels) = Rows(ids);
        using (images)
        using (labels)
        {
            return _trainer.Train(images, labels, seed, cancellationToken);
        }
    }

    public override Tensor Loss(nn.Module<Tensor, Tensor> model, ExampleBatch batch) =>
        Losses.CrossEntropy(model.call(batch["image"]), batch["label"]);

    public override Tensor OtherLoss(nn.Module<Tensor, Tensor> model, ExampleBatch batch) =>
        Losses.CrossEntropy(model.call(batch["image"]), GradientUnlearning.OtherLabels(batch, "label", LabelledImages.ClassCount));

    public override Tensor Margin(nn.Module<Tensor, Tensor> model, ExampleBatch batch)
    {
        var logits = model.call(batch["image"]); // [B, 10]
        var own = batch["label"].unsqueeze(1); // [B, 1]
        // [B]
        return logits.gather(1, own).squeeze(1) - logits.scatter(1, own, full(own.shape, double.NegativeInfinity)).logsumexp(1);
    }

    public override Examples Some(IReadOnlyList<long> ids)
    {
        var (images, labels) = Rows(ids);
        _owned.AddRange([images, labels]);
        return Examples.FromTensors(("image", images), ("label", labels)) with { Ids = ids };
    }

    public override void Dispose()
    {
        _images.Dispose();
        _labels.Dispose();
        _owned.ForEach(tensor => tensor.Dispose());
    }

    private (Tensor Images, Tensor Labels) Rows(IReadOnlyList<long> ids)
    {
        using var index = tensor(ids.ToArray());
        return (_images.index_select(0, index), _labels.index_select(0, index));
    }

    private Examples Of(Tensor images, int[] positions, Func<int, long> label, long first)
    {
        using var index = tensor(positions.Select(i => (long)i).ToArray());
        var (chosen, labels) = (images.index_select(0, index), tensor(positions.Select(label).ToArray()));
        _owned.AddRange([chosen, labels]);
        return Examples.FromTensors(("image", chosen), ("label", labels)) with { Ids = [.. positions.Select(i => first + i)] };
    }
}
