using System.Globalization;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Unlearning;

/// <summary>
/// Single layer single gradient (SLUG): one layer moves along its own gradient on the examples to forget, as far as it takes,
/// <code>w_l' = w_l + s g_F,l</code>
/// where the layer is one of those with the highest importance |g_F,l| / |w_l| and the lowest alignment |cos(g_F,l, g_K,l)| (the Pareto
/// front), and s follows by doubling and bisection from the loss that the examples to forget shall have.
/// </summary>
/// <remarks>
/// Of the front's layers the one is taken with which the mean loss of the examples to keep is lowest when the forget loss has reached
/// <see cref="TargetLoss"/>; the published code compares accuracies instead. A layer is a weight with its bias. Cost: one backward pass
/// over the examples, and for each layer of the front some twenty forward passes over the examples to forget and one over those to keep.
/// Reference: Cai et al., ICML 2025.
/// </remarks>
public sealed record SingleLayerUnlearning : UnlearningMethod
{
    private const int MostDoublings = 30;
    private const int Bisections = 12;

    /// <inheritdoc/>
    public override string Name => "SLUG";

    /// <summary>The mean loss that the examples to forget shall have, as that of unseen examples of their kind; above what it is
    /// now.</summary>
    public required double TargetLoss
    {
        get;
        init => field = Check.Positive(value);
    }

    /// <summary>The positions that no other beats: no other has at least the importance and at most the alignment, and differs.</summary>
    internal static IReadOnlyList<int> ParetoFront(IReadOnlyList<(double Importance, double Alignment)> layers) =>
        [
            .. Enumerable
                .Range(0, layers.Count)
                .Where(i =>
                    !layers.Any(other =>
                        other.Importance >= layers[i].Importance && other.Alignment <= layers[i].Alignment && other != layers[i]
                    )
                ),
        ];

    private protected override void Move(UnlearningRun run)
    {
        using var scope = NewDisposeScope();
        var now = run.MeanLoss(run.Forget);
        if (now >= TargetLoss)
        {
            throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The examples to forget have a mean loss of {now:G4} already; TargetLoss = {TargetLoss:G4} "
                        + $"lies above it: write the mean loss of unseen examples of their kind."
                )
            );
        }

        var (forget, keep) = run.MeanGradients(); // [P], [P]
        var ranges = run.Layout.BlockRanges;
        var layers = ranges
            .Select(range =>
                Describe(
                    run.Start.narrow(0, range.Start, range.Count),
                    forget.narrow(0, range.Start, range.Count),
                    keep.narrow(0, range.Start, range.Count)
                )
            )
            .ToList();
        int[] usable = [.. Enumerable.Range(0, layers.Count).Where(k => double.IsFinite(layers[k].Importance) && layers[k].Gradient > 0)];
        var (best, bestLoss, bestScale) = (-1, double.PositiveInfinity, 0.0);
        foreach (var at in ParetoFront([.. usable.Select(k => (layers[k].Importance, layers[k].Alignment))]))
        {
            var k = usable[at];
            using var one = NewDisposeScope();
            var direction = zeros_like(run.Start); // [P]
            direction.narrow(0, ranges[k].Start, ranges[k].Count).copy_(forget.narrow(0, ranges[k].Start, ranges[k].Count));
            if (
                Reach(run, direction, layers[k].Weight / layers[k].Gradient / 10) is { } scale
                && run.MeanLoss(run.Keep) is var loss
                && loss < bestLoss
            )
            {
                (best, bestLoss, bestScale) = (k, loss, scale);
            }
        }

        if (best < 0)
        {
            throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"No single layer can bring the mean loss of the examples to forget to TargetLoss = "
                        + $"{TargetLoss:G4} with finite losses. Write a lower one, or use another method."
                )
            );
        }

        var step = zeros_like(run.Start); // [P]
        var (start, count) = ranges[best];
        using Scalar factor = Kept(bestScale);
        step.narrow(0, start, count).copy_(forget.narrow(0, start, count) * factor);
        run.MoveTo(step);
        run.Notes.Add(
            string.Create(CultureInfo.InvariantCulture, $"the layer {run.Names[best]} moved, by {bestScale:G4} times its gradient")
        );
    }

    /// <summary>Leaves the model where the forget loss reaches the target, and gives the factor; null where it never does.</summary>
    private double? Reach(UnlearningRun run, Tensor direction, double first)
    {
        var (low, high) = (0.0, first);
        for (var doubling = 0; ; doubling++)
        {
            var loss = At(high);
            if (double.IsFinite(loss) && loss >= TargetLoss)
            {
                break;
            }

            if (doubling == MostDoublings || !double.IsFinite(loss))
            {
                return null;
            }

            (low, high) = (high, 2 * high);
        }

        for (var k = 0; k < Bisections; k++)
        {
            var middle = (low + high) / 2;
            (low, high) = At(middle) >= TargetLoss ? (low, middle) : (middle, high);
        }

        return double.IsFinite(At(high)) ? high : null;

        double At(double scale)
        {
            using var scope = NewDisposeScope();
            using Scalar factor = Kept(scale);
            run.MoveTo(direction * factor);
            return run.MeanLoss(run.Forget);
        }
    }

    private static (double Importance, double Alignment, double Gradient, double Weight) Describe(Tensor weight, Tensor forget, Tensor keep)
    {
        var (w, f, k) = (weight.Norm(), forget.Norm(), keep.Norm());
        var product = (forget.to_type(ScalarType.Float64) * keep.to_type(ScalarType.Float64)).sum().cpu().item<double>();
        return (f / w, f > 0 && k > 0 ? Math.Abs(product) / (f * k) : 0, f, w);
    }
}
