using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Scaling;

/// <summary>Sizes of which one grows.</summary>
/// <param name="Title">What grows, and what stays.</param>
/// <param name="Letter">The letter of what grows.</param>
/// <param name="Sizes">Its sizes, ascending.</param>
/// <param name="At">The shape at a size.</param>
internal sealed record ScaleSeries(string Title, string Letter, long[] Sizes, Func<long, ScaleShape> At)
{
    public static IEnumerable<ScaleSeries> All(bool quick)
    {
        yield return new(
            "Training examples (MLP 32-32-4, 10 queries)",
            "N",
            quick ? [1_000, 10_000] : [1_000, 10_000, 100_000, 1_000_000],
            n => new ScaleShape((int)n, 10, 32, 1)
        );
        yield return new(
            "Queries (MLP 32-32-4, 1,000 training examples)",
            "Q",
            quick ? [10, 100] : [1, 10, 100, 1_000, 10_000],
            q => new ScaleShape(1_000, (int)q, 32, 1)
        );
        yield return new(
            "Width (MLP D-D-4, 512 training examples, 32 queries)",
            "D",
            quick ? [64, 256] : [64, 256, 1_024, 4_096],
            d => new ScaleShape(512, 32, d, 1)
        );
        yield return new(
            "Positions (two linear layers of width 64 over T positions, their mean, 64 training examples, 8 queries)",
            "T",
            quick ? [1, 16] : [1, 8, 64, 512, 2_048],
            t => new ScaleShape(64, 8, 64, t)
        );
    }
}

/// <summary>Two linear layers, the second of four classes, over positions whose outputs are averaged.</summary>
/// <param name="Train">N.</param>
/// <param name="Queries">Q.</param>
/// <param name="Width">D.</param>
/// <param name="Positions">T; 1: there are none.</param>
internal sealed record ScaleShape(int Train, int Queries, long Width, long Positions)
{
    private const int Classes = 4;

    /// <summary>Multiply-adds of one example's forward pass.</summary>
    public double Pass => Positions * ((double)Width * Width + (Width * Classes));

    /// <summary>Those of its backward pass to the layers' outputs.</summary>
    public double Back => Positions * (double)Width * Classes;

    private int BatchSize => (int)Math.Clamp(262_144 / (Width * Positions), 8, 256);

    public nn.Module<Tensor, Tensor> Model(Device device)
    {
        manual_seed(1);
        var model = nn.Sequential(
            ("first", nn.Linear(Width, Width)),
            ("tanh", nn.Tanh()),
            ("second", nn.Linear(Width, Classes)),
            ("mean", new Mean(Positions > 1))
        );
        model.to(device).eval();
        return model;
    }

    public Examples Data(int count, Device device)
    {
        var x = Positions > 1 ? randn(count, Positions, Width, device: device) : randn(count, Width, device: device);
        return Examples.FromTensors(("x", x), ("y", randint(0, Classes, [count], device: device))) with { BatchSize = BatchSize };
    }

    public static IEnumerable<(Tensor X, Tensor Y)> Batches(Examples examples) =>
        examples.Batches().Select(batch => (batch["x"], batch["y"]));

    /// <summary>The mean over positions.</summary>
    private sealed class Mean(bool hasPositions) : nn.Module<Tensor, Tensor>(nameof(Mean))
    {
        public override Tensor forward(Tensor input) => hasPositions ? input.mean([1L]) : input.alias();
    }
}
