using Influence.Distributed;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>Counts what a layer-wise fit takes, from the shapes of one example's gradients.</summary>
internal static class CostModel
{
    /// <summary>A symmetric eigendecomposition takes about this many n^3, with vectors.</summary>
    private const double Decomposition = 9;

    /// <summary>A file's header, roughly.</summary>
    private const double FileBytes = 1 << 13;

    public static CurvatureCost Of(GradientSession session, Examples train, LayerwisePreconditioner.Options options, CurvatureKind kind)
    {
        var looks = (double)train.Count * options.LabelDraws;
        var element = session.Dtype == ScalarType.Float64 ? 8 : 4;
        var (kept, sums, work, largest) = (0.0, 0.0, 0.0, 0.0);
        foreach (var first in train.Batches().Take(1))
        {
            using var scope = NewDisposeScope();
            using var sample = session.Capture(first.Pick([0]), LossKind.Training);
            var inputs = new HashSet<(string, bool)>();
            for (var k = 0; k < sample.Blocks.Count; k++)
            {
                var size = session.Parts[k].Sum(p => (double)p.Count);
                var (measured, kronecker) = (kind == CurvatureKind.Ekfac, kind != CurvatureKind.Diagonal);
                switch (sample.Blocks[k])
                {
                    case FactoredGradients { Weight: true } f when kronecker:
                    {
                        var kfac = options.Factors == LayerwisePreconditioner.FactorKind.Kfac;
                        var shared = kfac && f.InputKey is { } key && !inputs.Add((key, f.Bias));
                        var splits = options.OutputSplits.GetValueOrDefault(session.Parts[k][0].Parameter.Name);
                        var ofInputs = (f.IsTransposed ? splits : null) ?? [f.Inputs + (f.Bias ? 1 : 0)];
                        long[] a = shared ? [] : FactorLayout.Sizes(ofInputs, options.MaximumFactorSize);
                        long[] g = FactorLayout.Sizes((f.IsTransposed ? null : splits) ?? [f.Outputs], options.MaximumFactorSize);
                        Count(a, g, f.Positions, f.Inputs + f.Outputs, measured ? size : 0);
                        if (options.Factors == LayerwisePreconditioner.FactorKind.Shampoo)
                        {
                            // In place of a product for each position; and its pieces.
                            var squares = a.Concat(g).Sum(n => (double)n * n);
                            work +=
                                looks * (ShampooSums.Cost(f.Positions, f.Inputs + (f.Bias ? 1 : 0), f.Outputs) - (f.Positions * squares));
                            largest = Math.Max(largest, Math.Max(KroneckerFit.NumbersAtOnce, size) * element * 2);
                        }

                        break;
                    }

                    case GroupedGradients grouped when kronecker:
                    {
                        var (a, d) = grouped.Factors(); // [1, g, T, n]
                        var groups = (int)a.shape[1];
                        Count(Repeat(a), Repeat(d), a.shape[2], a.shape[3] + d.shape[3], size);

                        // The eigenvalues of each group's covariances are not kept.
                        kept -= 8 * groups * (a.shape[3] + d.shape[3]);
                        long[] Repeat(Tensor factor) => [.. Enumerable.Repeat(factor.shape[3], groups)];
                        break;
                    }

                    case { HeadOfTable: { } head } when measured:
                    {
                        // One covariance, and the table's eigenvalues from gradients along it, some examples at a time.
                        Count(FactorLayout.Sizes(head.Inputs, options.MaximumFactorSize), [], head.Positions, head.Inputs, size);
                        largest = Math.Max(largest, Math.Max(KroneckerFit.NumbersAtOnce, size) * element * 2);
                        break;
                    }

                    case TokenGradients t:
                        Count(
                            [],
                            kronecker ? FactorLayout.Sizes(t.Width, options.MaximumFactorSize) : [],
                            t.Tokens.shape[1],
                            t.Width,
                            size
                        );
                        kept += kronecker ? 0 : 8 * t.Width;
                        sums += 8 * t.Vocabulary;
                        work += looks * (double)t.Tokens.shape[1] * t.Width;
                        break;
                    default:
                        kept += size * element;
                        sums += size * 8;
                        work += looks * size;
                        if (sample.Blocks[k] is { Shape: not { Positions: 1 } } block)
                        {
                            // A batch's gradients written out, and their squares.
                            largest = Math.Max(largest, first.Count * size * element * 2);
                            block.Release();
                        }

                        break;
                }
            }

            // One layer: diagonal blocks of two covariances, with their eigenvalues, and what is measured along their vectors.
            void Count(long[] a, long[] g, double positions, double width, double eigenvalues)
            {
                var squares = a.Concat(g).Sum(n => (double)n * n);
                kept += ((squares + eigenvalues) * element) + (8.0 * (a.Sum() + g.Sum()));
                sums += (squares + eigenvalues) * 8;
                work += (looks * positions * squares) + (Decomposition * a.Concat(g).Sum(n => Math.Pow(n, 3)));
                if (kind == CurvatureKind.Ekfac)
                {
                    work +=
                        looks
                        * (
                            positions == 1
                                ? squares + eigenvalues
                                : Math.Min(positions * squares, eigenvalues * width) + (positions * eigenvalues)
                        );
                    largest = Math.Max(
                        largest,
                        positions == 1
                            ? width
                            : Math.Min(first.Count * eigenvalues, Math.Max(KroneckerFit.NumbersAtOnce, eigenvalues)) * element * 4
                    );
                }

                // One decomposition at a time, in float64, with its workspace.
                largest = Math.Max(largest, 4 * 8 * a.Concat(g).Select(n => (double)n * n).DefaultIfEmpty().Max());
            }
        }

        var passes = (kind == CurvatureKind.Ekfac ? 2 : 1) * options.LabelDraws;
        return new CurvatureCost((long)kept, (long)(kept + sums + largest), work, passes, TimeSpan.Zero)
        {
            // Sums of a unit, the bases, the result, and each file's header.
            DiskBytes = options.Work is { } inUnits
                ? (long)((new WorkUnits(train, inUnits).Count * (sums + FileBytes)) + (2 * (kept + FileBytes)))
                : 0,
        };
    }

    /// <summary>
    /// The same with a time: both passes over some batches, and decompositions of the sizes that there are. A fit that its budget refuses
    /// is not begun for that; its time is of the passes through the model alone, and of the arithmetic by the rate of one product.
    /// </summary>
    public static CurvatureCost Timed(
        this CurvatureCost cost,
        GradientSession session,
        Examples train,
        LayerwisePreconditioner.Options options,
        CurvatureKind kind,
        Spent opening,
        ProgressReporter progress
    )
    {
        using var noGrad = no_grad();
        var (passes, decompositions) =
            cost.PeakBytes <= options.MemoryBudget
                ? LayerwiseFit.Sample(session, train, options, kind, progress)
                : (Counted(cost, session, train), Spent.Zero);
        var fingerprint = Spent.Of(() => _ = session.WeightsFingerprint());
        var all = opening + fingerprint + passes + decompositions;
        return cost with { Time = all.Clock, Processor = all.Processor, Decompositions = decompositions.Clock };
    }

    private static Spent Counted(CurvatureCost cost, GradientSession session, Examples train)
    {
        var pass = Spent.OfAll(
            train,
            part =>
            {
                foreach (var examples in session.Batches(part, LossKind.Training))
                {
                    using var batch = session.Capture(examples, LossKind.Training);
                }
            }
        );
        using var scope = NewDisposeScope();
        const long Size = 768;
        var x = ones([Size, Size], session.Dtype, session.Device);
        Product();
        return (pass * cost.Passes) + (Spent.Of(Product) * (cost.MultiplyAdds / Math.Pow(Size, 3)));

        void Product() => x.mm(x)[0, 0].cpu().to_type(ScalarType.Float64).item<double>();
    }
}
