using Influence.Training;
using static TorchSharp.torch;

namespace TrainingLoop;

/// <summary>A small convolutional network on Fashion-MNIST of which a fifth of the labels is wrong.</summary>
internal static class ImageJob
{
    private const double FlippedShare = 0.2;
    private const double Rate = 0.05;
    private const int Channels = 8;
    private const int Images = 6000;
    private const int ValidationImages = 300;
    private const int HeldOutImages = 3000;
    private const int Batch = 50;

    public static NoisyJob Create(Options options)
    {
        var train = FashionMnist.ReadTraining(options.Data, Images);
        var test = FashionMnist.ReadTest(options.Data);
        var labels = FlippedLabels.Flip(train.Labels, FlippedShare, options.Seed);
        return new NoisyJob
        {
            Name = "images",
            Description =
                $"{Images:N0} images of Fashion-MNIST, {labels.FlippedCount:N0} labels flipped; {ValidationImages} clean ones to steer "
                + $"by, {HeldOutImages:N0} others to judge by",
            Noise = "flipped labels",
            Unit = ("nats", 1),
            Train = new ExampleTensors(train.ToTensor(), labels.ToTensor()),
            IsNoisy = labels.IsFlipped,
            Validation = Clean(test, 0, ValidationImages),
            HeldOut = Clean(test, ValidationImages, HeldOutImages),
            CreateModel = seed => SmallCnn.Create(seed, Channels),
            CreateOptimizer = model => optim.SGD(model.parameters(), Rate),
            BatchSize = Batch,
            ValidationSize = Batch,
            Steps = (options.Quick ? 3 : 10) * Images / Batch,
            Reweighting = new LossReweighting { Scheme = LossReweighting.Kind.Quadratic, WarmUpSteps = Images / Batch },
            Selection = new OnlineSelection { Fraction = 0.5 },
        };
    }

    private static ExampleTensors Clean(LabelledImages images, int start, int count)
    {
        var some = images.At([.. Enumerable.Range(start, count)]);
        return new ExampleTensors(some.ToTensor(), tensor(some.Labels.Select(label => (long)label).ToArray()));
    }
}
