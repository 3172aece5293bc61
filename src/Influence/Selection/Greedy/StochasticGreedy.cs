using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// Greedy that looks at (N / k) ln(1 / epsilon) candidates for each pick, so at N ln(1 / epsilon) in all, with gains measured on
/// a sample of the points.
/// </summary>
/// <remarks>Mirzasoleiman et al., <i>Lazier Than Lazy Greedy</i>, AAAI 2015: 1 - 1/e - epsilon of the best, in expectation, for a budget in
/// examples.</remarks>
internal static class StochasticGreedy
{
    public static void Run(Similarities similarities, Picks picks, SelectionStrategy.Run run, int referencePoints, double epsilon)
    {
        using var scope = NewDisposeScope();
        var (n, total) = (similarities.Count, picks.Room);
        var random = run.Random("stochastic greedy");
        // [r, d]
        var points = referencePoints >= n ? similarities.Points : similarities.At(Sampling.Without(random, n, referencePoints));
        var covered = zeros([points.shape[0]], points.dtype, points.device); // [r]
        using var coverage = new BlockCoverage(similarities, points, covered);
        var scale = n / (double)points.shape[0];
        var each = (int)Math.Clamp(Math.Ceiling(n / (double)total * Math.Log(1 / epsilon)), 1, n);
        var left = Enumerable.Range(0, n).ToList();
        while (!picks.Full)
        {
            using var step = NewDisposeScope();
            int[] slots = each >= left.Count ? [.. Enumerable.Range(0, left.Count)] : Sampling.Without(random, left.Count, each);
            Array.Sort(slots, (a, b) => left[a].CompareTo(left[b]));
            var fitting = Array.FindAll(slots, slot => picks.Fits(left[slot]));
            if (fitting.Length > 0)
            {
                var rows = similarities.At(Array.ConvertAll(fitting, slot => left[slot])); // [s, d]
                var gains = coverage.Gains(rows);
                var best = Array.IndexOf(gains, gains.Max());
                coverage.Cover(rows.narrow(0, best, 1));
                picks.Add(left[fitting[best]], gains[best] * scale * similarities.Unit);
                run.Report(picks.Count, Math.Max(total, picks.Count));
            }

            // The pick leaves, and so does everything drawn that is too long for the tokens that are left.
            foreach (var slot in slots.Where(slot => !picks.Fits(left[slot])).OrderDescending().ToList())
            {
                left[slot] = left[^1];
                left.RemoveAt(left.Count - 1);
            }
        }
    }
}
