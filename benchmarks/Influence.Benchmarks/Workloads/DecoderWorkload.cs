using Influence.Benchmarks.Floors;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Benchmarks.Workloads;

/// <summary>A byte-level decoder, 4 layers of width 128, over 128 bytes; the loss of an example is the sum over positions.</summary>
internal static class DecoderWorkload
{
    private static readonly ReferenceRatios Reference = new(
        1.0,
        1.2,
        [("kronfluence", 1.7), ("captum TracInCP", 2.4)],
        Kfac: new FitAndScore(null, null, null),
        Ekfac: new FitAndScore(4.5, 6.3, 906)
    );

    public static Workload Create(WorkloadSize size, ScalarType dtype, Device device, DataFolder data)
    {
        manual_seed(size.Seed);
        var model = new Decoder(DecoderSize.Benchmark);
        model.to(dtype).to(device).eval();
        var (train, queries, note) = TextBytes.Load(data, size, DecoderSize.Benchmark.Positions, device);
        return new Workload(
            "decoder",
            $"decoder, 4 layers of width 128 over 128 bytes, {size.Train:N0} training examples, {size.Queries:N0} queries, batch 20",
            model,
            (x, y) => Losses.CrossEntropy(model.call(x), y),
            (x, y) => F.cross_entropy(model.call(x).reshape(-1, DecoderSize.Vocabulary), y.reshape(-1)),
            train,
            queries,
            20,
            DecoderSize.Benchmark.Shape(),
            Reference,
            note
        );
    }
}
