using Influence.Benchmarks.Floors;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Benchmarks.Workloads;

/// <summary>MLP 784-256-128-10 with ReLU on Fashion-MNIST.</summary>
internal static class MlpWorkload
{
    private static readonly ReferenceRatios Reference = new(
        2,
        1.2,
        [("captum TracInCP", 183), ("kronfluence", 353), ("dattri TracIn", 1193)],
        Kfac: new FitAndScore(null, 508, null),
        Ekfac: new FitAndScore(20, 770, 2861)
    );

    public static Workload Create(WorkloadSize size, ScalarType dtype, Device device, DataFolder data)
    {
        manual_seed(size.Seed);
        var model = nn.Sequential(
            ("fc1", nn.Linear(784, 256)),
            ("relu1", nn.ReLU()),
            ("fc2", nn.Linear(256, 128)),
            ("relu2", nn.ReLU()),
            ("fc3", nn.Linear(128, 10))
        );
        model.to(dtype).to(device).eval();
        var (train, queries, note) = FashionMnist.Load(data, size, [784], dtype, device);
        return new Workload(
            "mlp",
            $"MLP 784-256-128-10, {size.Train:N0} training examples, {size.Queries:N0} queries, batch 250",
            model,
            (x, y) => Losses.CrossEntropy(model.call(x), y),
            (x, y) => F.cross_entropy(model.call(x), y),
            train,
            queries,
            250,
            new ModelShape([
                new LayerShape("fc1", 1, 784, 256, InputGradient: false),
                new LayerShape("fc2", 1, 256, 128),
                new LayerShape("fc3", 1, 128, 10),
            ]),
            Reference,
            note
        );
    }
}
