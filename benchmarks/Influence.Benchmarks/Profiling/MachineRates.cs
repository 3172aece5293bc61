using System.Globalization;
using Influence.Benchmarks.Floors;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Workloads;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Profiling;

/// <summary>What one thread of the machine reaches at a workload's sizes: matrix products, batched ones, and copies.</summary>
internal static class MachineRates
{
    private const int Rounds = 12;

    public static TextTable Table(Workload workload)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var table = new TextTable("what one thread reaches", "sizes", "rate");
        AddProduct("matrix product, large", 1024, 1024, 1024);
        var batch = workload.BatchSize;
        foreach (var layer in workload.Shape.Layers.DistinctBy(layer => (layer.Positions, layer.Inputs, layer.Outputs)))
        {
            var (t, i, o) = (layer.Positions, layer.Inputs, layer.Outputs);
            AddProduct($"{layer.Name}, the layer's own product", batch * t, i, o);
            AddBatched($"{layer.Name}, gradients written out", batch, layer);
        }

        AddCopy("copy within the caches", 1 << 17);
        AddCopy("copy through memory", 1 << 25);
        return table;

        void AddProduct(string what, long n, long k, long m)
        {
            var (left, right) = (randn(n, k), randn(k, m));
            Add(what, $"[{n}, {k}] [{k}, {m}]", (double)n * k * m, "G multiply-adds/s", () => left.mm(right));
        }

        void AddBatched(string what, long examples, LayerShape layer)
        {
            var d = randn(examples, layer.Outputs, layer.Positions);
            var a = randn(examples, layer.Positions, layer.Inputs);
            Add(
                what,
                $"{examples} x [{layer.Outputs}, {layer.Positions}] [{layer.Positions}, {layer.Inputs}]",
                (double)examples * layer.Pass,
                "G multiply-adds/s",
                () => d.bmm(a)
            );
        }

        void AddCopy(string what, long numbers)
        {
            var (from, to) = (randn(numbers), zeros(numbers));
            Add(what, $"{numbers * 4 / 1e6:F1} MB", 8.0 * numbers, "GB/s read and written", () => to.copy_(from));
        }

        void Add(string what, string sizes, double amount, string unit, Func<Tensor> run)
        {
            var samples = new Samples();
            for (var round = 0; round < Rounds; round++)
            {
                using var one = NewDisposeScope();
                samples.Add(ThreadClock.Time(() => run()));
            }

            table.Add(what, sizes, string.Create(CultureInfo.InvariantCulture, $"{amount / samples.Min / 1e9:F1} {unit}"));
        }
    }
}
