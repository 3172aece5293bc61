using System.Diagnostics;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>Counts what a layer-wise fit takes, from the shapes of one example's gradients.</summary>
internal static class CostModel
{
    /// <summary>A symmetric eigendecomposition takes about this many n^3, with vectors.</summary>
    private const double Decomposition = 9;

    public static CurvatureCost Of(GradientSession session, Examples train, CurvatureOptions options, CurvatureKind kind)
    {
        var element = session.Dtype == ScalarType.Float64 ? 8.0 : 4.0;
        var (kept, sums, work, largest) = (0.0, 0.0, 0.0, 0.0);
        foreach (var first in train.Batches().Take(1))
        {
            using var scope = NewDisposeScope();
            using var sample = session.Capture(first.Pick([0]), LossKind.Training);
            for (var k = 0; k < sample.Blocks.Count; k++)
            {
                var size = session.Parts[k].Sum(p => (double)p.Count);
                if (sample.Blocks[k] is FactoredGradients { Weight: true } f && kind != CurvatureKind.Diagonal)
                {
                    var (i, o, t) = (f.Inputs + (f.Bias ? 1.0 : 0.0), (double)f.Outputs, (double)f.Positions);
                    var (squaresI, squaresO) = (Blocks(i, 2), Blocks(o, 2));
                    kept += (squaresI + squaresO + (kind == CurvatureKind.Ekfac ? size : 0)) * element;
                    sums += (squaresI + squaresO + (kind == CurvatureKind.Ekfac ? size : 0)) * 8;
                    work += (train.Count * t * (squaresI + squaresO)) + (Decomposition * (Blocks(i, 3) + Blocks(o, 3)));
                    if (kind == CurvatureKind.Ekfac)
                    {
                        work += train.Count * (t == 1 ? squaresI + squaresO + size : (Math.Min(t * (squaresI + squaresO), size * (i + o)) + (t * size)));
                        largest = Math.Max(largest, t == 1 ? i + o : first.Count * size * element * 2);
                    }

                    // One decomposition at a time, in float64, with its workspace.
                    largest = Math.Max(largest, 4 * 8 * Math.Max(Blocks(i, 2), Blocks(o, 2)));
                }
                else
                {
                    kept += size * element;
                    sums += size * 8;
                    work += train.Count * size;
                    if (sample.Blocks[k] is { } block and not (TokenGradients or FactoredGradients { Positions: 1 }))
                    {
                        // A batch's gradients written out, and their squares.
                        largest = Math.Max(largest, first.Count * size * element * 2);
                        block.Release();
                    }
                }
            }
        }

        var passes = kind == CurvatureKind.Ekfac ? 2 : 1;
        return new CurvatureCost((long)kept, (long)(kept + sums + largest), work, passes, TimeSpan.Zero);

        double Blocks(double size, int power) => FactorLayout.Sizes((long)size, options.MaximumFactorSize).Sum(s => Math.Pow(s, power));
    }

    /// <summary>The same with a time: the passes by one measured batch, the arithmetic by one measured product.</summary>
    public static CurvatureCost Timed(this CurvatureCost cost, GradientSession session, Examples train)
    {
        using var noGrad = no_grad();
        var seconds = 0.0;
        foreach (var first in train.Batches().Take(1))
        {
            var watch = Stopwatch.StartNew();
            using var batch = session.Capture(first, LossKind.Training);
            seconds = watch.Elapsed.TotalSeconds * train.Count / first.Count;
        }

        using var scope = NewDisposeScope();
        const long Size = 768;
        var x = ones([Size, Size], session.Dtype, session.Device);
        x.mm(x)[0, 0].cpu().to_type(ScalarType.Float64).item<double>();
        var product = Stopwatch.StartNew();
        x.mm(x)[0, 0].cpu().to_type(ScalarType.Float64).item<double>();
        var rate = Math.Pow(Size, 3) / product.Elapsed.TotalSeconds;
        return cost with { Time = TimeSpan.FromSeconds((cost.Passes * seconds) + (cost.MultiplyAdds / rate)) };
    }
}
