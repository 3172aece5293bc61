using System.Globalization;
using Influence.Curvature;
using Influence.Formats;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>What a fit is said to take, and what it does.</summary>
public sealed class CostTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();

    public static TheoryData<string, string, int> Fits
    {
        get
        {
            var data = new TheoryData<string, string, int>();
            foreach (
                var name in new[]
                {
                    "mlp",
                    "linear without bias",
                    "conv2d",
                    "conv2d grouped",
                    "conv1d grouped",
                    "embedding",
                    "layer norm",
                    "tied embedding and head",
                    "raw parameter",
                    "frozen weight",
                    "attention causal",
                    "attention grouped-query rotary padded",
                }
            )
            {
                foreach (var method in LayerwiseMethods.All.Where(m => m != "gradient dot product"))
                {
                    data.Add(name, method, 8192);
                    data.Add(name, method, 3);
                }
            }

            return data;
        }
    }

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    /// <summary>To the byte: the tensors of the file are those of the memory.</summary>
    [Theory]
    [MemberData(nameof(Fits))]
    public void KeptBytesAreTheFilesTensors(string name, string method, int maximumFactor)
    {
        var made = Cases.Make(name);
        var examples = Examples.FromTensors(made.Inputs(6));
        var options = LayerwiseMethods.Empirical with { MaximumFactorSize = maximumFactor };
        using var fit = LayerwiseMethods.FitLayerwise(method, made.Task(), examples, options);
        var cost = LayerwiseMethods.Estimate(method, made.Task(), examples, options);

        Assert.Equal(Size(fit), cost.KeptBytes);
        Assert.True(cost.PeakBytes > cost.KeptBytes);
        Assert.Equal(method == "EK-FAC" ? 2 : 1, cost.Passes);
        Assert.True(cost.MultiplyAdds > 0);
        Assert.True(cost.Time > TimeSpan.Zero);
    }

    [Fact]
    public void SplitsAreCounted()
    {
        var (layer, examples, task) = Layer(6, 12);
        var options = LayerwiseMethods.Empirical with
        {
            OutputSplits = new Dictionary<string, IReadOnlyList<long>> { ["weight"] = [6, 3, 3] },
        };
        using var fit = Kfac.Fit(task, examples, options);

        Assert.Equal(Size(fit), Kfac.Estimate(task, examples, options).KeptBytes);

        // 7^2 of the inputs and the bias, 6^2 + 3^2 + 3^2 of the outputs, and 7 + 12 eigenvalues; 8 bytes each.
        Assert.Equal(8 * (49 + 36 + 9 + 9 + 19), Size(fit));
        GC.KeepAlive(layer);
    }

    [Fact]
    public void NarrowModelsTakeHalf()
    {
        var (layer, examples, task) = Layer(6, 12, float32);
        using var fit = Ekfac.Fit(task, examples, LayerwiseMethods.Empirical);

        // The eigenvalues of the covariances stay wide.
        Assert.Equal((4 * (49 + 144 + 84)) + (8 * 19), Size(fit));
        Assert.Equal(Size(fit), Ekfac.Estimate(task, examples, LayerwiseMethods.Empirical).KeptBytes);
        GC.KeepAlive(layer);
    }

    /// <summary>A megabyte and more, so that the figures are not all zero.</summary>
    [Theory]
    [InlineData("EK-FAC")]
    [InlineData("K-FAC")]
    [InlineData("diagonal Fisher")]
    public void AFitBeyondItsBudgetIsRefusedWithTheFigures(string method)
    {
        var (layer, examples, task) = Layer(300, 500);
        var cost = LayerwiseMethods.Estimate(method, task, examples);
        var budget = cost.PeakBytes - 1;

        var batches = 0;
        var counting = new InfluenceTask(task.Model)
        {
            TrainingLoss = b =>
            {
                batches++;
                return task.TrainingLoss(b);
            },
        };
        var thrown = Assert.Throws<InfluenceException>(() =>
            LayerwiseMethods.FitLayerwise(
                method,
                counting,
                examples with
                {
                    BatchSize = 1,
                },
                LayerwiseMethods.Empirical with
                {
                    MemoryBudget = budget,
                }
            )
        );

        Assert.Contains(Mebibytes(cost.PeakBytes), thrown.Message, StringComparison.Ordinal);
        Assert.Contains(Mebibytes(budget), thrown.Message, StringComparison.Ordinal);
        Assert.Contains("MaximumFactorSize", thrown.Message, StringComparison.Ordinal);

        // Refused before the first pass: only the checks have run.
        Assert.True(batches < examples.Count);
        using var fit = LayerwiseMethods.FitLayerwise(
            method,
            task,
            examples,
            LayerwiseMethods.Empirical with
            {
                MemoryBudget = cost.PeakBytes,
            }
        );
        GC.KeepAlive(layer);

        static string Mebibytes(long bytes) => string.Create(CultureInfo.CurrentCulture, $"{bytes / (1024.0 * 1024):N1} MiB");
    }

    /// <summary>Smaller factors take less, which is what the message advises.</summary>
    [Fact]
    public void SmallerFactorsCostLess()
    {
        var (layer, examples, task) = Layer(300, 500);
        var whole = Ekfac.Estimate(task, examples);
        var split = Ekfac.Estimate(task, examples, new() { MaximumFactorSize = 100 });
        var diagonal = DiagonalFisher.Estimate(task, examples);

        Assert.True(split.KeptBytes < whole.KeptBytes && diagonal.KeptBytes < split.KeptBytes);
        Assert.True(split.PeakBytes < whole.PeakBytes && diagonal.PeakBytes < split.PeakBytes);
        Assert.True(split.MultiplyAdds < whole.MultiplyAdds);
        GC.KeepAlive(layer);
    }

    private static (TorchSharp.Modules.Linear Layer, Examples Examples, InfluenceTask Task) Layer(
        long inputs,
        long outputs,
        ScalarType dtype = ScalarType.Float64
    )
    {
        random.manual_seed(95);
        var layer = nn.Linear(inputs, outputs, dtype: dtype);
        layer.eval();
        var examples = Examples.FromTensors(randn([30, inputs], dtype: dtype), randn([30, outputs], dtype: dtype));
        return (layer, examples, new InfluenceTask(layer) { TrainingLoss = b => Losses.SquaredError(layer.call(b[0]), b[1]) });
    }

    private long Size(LayerwisePreconditioner fit)
    {
        var path = _folder.Path("fit.safetensors");
        fit.Save(path);
        return Safetensors.Load(path).Tensors.Values.Sum(t => t.numel() * (t.dtype == ScalarType.Float64 ? 8 : 4));
    }
}
