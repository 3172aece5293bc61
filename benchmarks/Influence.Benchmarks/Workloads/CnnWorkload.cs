using Influence.Benchmarks.Floors;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Benchmarks.Workloads;

/// <summary>Three 3x3 convolutions (16, 32, 32) with ReLU and max-pooling after each, one linear layer, on Fashion-MNIST.</summary>
internal static class CnnWorkload
{
    private static readonly ReferenceRatios Reference = new(
        1.6,
        1.2,
        [("kronfluence", 4.1), ("captum TracInCP", 4.4), ("dattri TracIn", 7.9)],
        Kfac: new FitAndScore(null, 11.4, null),
        Ekfac: new FitAndScore(6, 15, null)
    );

    public static Workload Create(WorkloadSize size, ScalarType dtype, Device device, DataFolder data)
    {
        manual_seed(size.Seed);
        var model = nn.Sequential(
            ("conv1", nn.Conv2d(1, 16, 3, padding: 1)),
            ("relu1", nn.ReLU()),
            ("pool1", nn.MaxPool2d(2)), // [B, 16, 14, 14]
            ("conv2", nn.Conv2d(16, 32, 3, padding: 1)),
            ("relu2", nn.ReLU()),
            ("pool2", nn.MaxPool2d(2)), // [B, 32, 7, 7]
            ("conv3", nn.Conv2d(32, 32, 3, padding: 1)),
            ("relu3", nn.ReLU()),
            ("pool3", nn.MaxPool2d(2)), // [B, 32, 3, 3]
            ("flatten", nn.Flatten()),
            ("linear", nn.Linear(288, 10))
        );
        model.to(dtype).to(device).eval();
        var (train, queries, note) = FashionMnist.Load(data, size, [1, 28, 28], dtype, device);
        return new Workload(
            "cnn",
            $"CNN with three 3x3 convolutions (16, 32, 32), {size.Train:N0} training examples, {size.Queries:N0} queries, batch 100",
            model,
            (x, y) => Losses.CrossEntropy(model.call(x), y),
            (x, y) => F.cross_entropy(model.call(x), y),
            train,
            queries,
            100,
            new ModelShape([
                new LayerShape("conv1", 28 * 28, 9, 16, InputGradient: false),
                new LayerShape("conv2", 14 * 14, 144, 32),
                new LayerShape("conv3", 7 * 7, 288, 32),
                new LayerShape("linear", 1, 288, 10),
            ]),
            Reference,
            note
        );
    }
}
