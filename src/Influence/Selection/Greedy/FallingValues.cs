using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// Greedy where a candidate's value can only fall with each pick, as with the distance to the nearest pick: the candidates that
/// were on top at the last look are kept up to date pick by pick; all others only once the best of these is no longer above what
/// all others had at most. The answer is that of looking at all candidates for each pick.
/// </summary>
/// <param name="points"><c>[N, d]</c>.</param>
/// <param name="own"><c>[N]</c>: a number of each candidate's own, handed to <paramref name="values"/>.</param>
/// <param name="values">From points <c>[n, d]</c>, their own numbers <c>[n]</c>, picks <c>[p, d]</c> and their own numbers <c>[p]</c> to
/// the lowest value over these picks, <c>[n]</c>.</param>
internal sealed class FallingValues(Tensor points, Tensor own, Func<Tensor, Tensor, Tensor, Tensor, Tensor> values)
{
    private const int OnTop = 1 << 14;
    private const int PicksAtOnce = 256;

    /// <summary>Picks until nothing fits, or no value is above the floor.</summary>
    /// <param name="start"><c>[N]</c>: values before the first pick that is made here; overwritten.</param>
    /// <param name="first">A pick that is made already, or -1.</param>
    /// <param name="floor">Of values.</param>
    /// <param name="picks">Added to.</param>
    /// <param name="utility">Of a value.</param>
    /// <param name="run">Told of each pick.</param>
    public void Run(Tensor start, int first, double floor, Picks picks, Func<double, double> utility, SelectionStrategy.Run run)
    {
        var total = picks.Count + picks.Room;
        var pending = new List<int>();
        if (first >= 0)
        {
            pending.Add(first);
        }

        while (!picks.Full)
        {
            using var scope = NewDisposeScope();
            Update(start, pending);
            pending.Clear();
            if (!RunOnTop(start, floor, picks, pending, utility, run, total))
            {
                return;
            }
        }
    }

    /// <summary>Picks as long as the best on top is above all others; false once nothing is left.</summary>
    private bool RunOnTop(
        Tensor all,
        double floor,
        Picks picks,
        List<int> pending,
        Func<double, double> utility,
        SelectionStrategy.Run run,
        int total
    )
    {
        var n = all.shape[0];
        var everything = n <= OnTop;
        var (highest, which) = all.topk((int)Math.Min(n, OnTop));
        var threshold = everything ? double.NegativeInfinity : Number(highest.narrow(0, OnTop - 1, 1));
        var order = which.sort().Values; // [t]
        // [t, d], [t], [t]
        var (rows, mine, value) = (points.index_select(0, order), own.index_select(0, order), all.index_select(0, order));
        while (!picks.Full)
        {
            using var step = NewDisposeScope();
            var slot = value.argmax();
            var best = Number(value.index_select(0, slot.unsqueeze(0)));
            var position = (int)order.index_select(0, slot.unsqueeze(0)).item<long>();
            if (best <= threshold && pending.Count > 0)
            {
                return true;
            }

            if (best <= floor)
            {
                return false;
            }

            // Right after a look at all, a tie with what is not on top goes to the lowest position.
            if (best <= threshold)
            {
                position = (int)all.ge(Kept(best)).nonzero().min().item<long>();
            }

            if (!picks.Fits(position))
            {
                all.select(0, position).fill_(Kept(double.NegativeInfinity));
                value.masked_fill_(order.eq(Kept(position)), Kept(double.NegativeInfinity));
                if (best <= threshold)
                {
                    return true;
                }

                continue;
            }

            picks.Add(position, utility(best));
            pending.Add(position);
            run.Report(picks.Count, total);
            if (best <= threshold || pending.Count >= PicksAtOnce)
            {
                return true;
            }

            var pick = tensor(new[] { (long)position }, device: points.device);
            value.copy_(value.minimum(values(rows, mine, points.index_select(0, pick), own.index_select(0, pick))));
            value.masked_fill_(order.eq(Kept(position)), Kept(double.NegativeInfinity));
        }

        return true;
    }

    /// <summary>The values of all candidates after the picks since the last look.</summary>
    private void Update(Tensor all, List<int> pending)
    {
        if (pending.Count == 0)
        {
            return;
        }

        using var scope = NewDisposeScope();
        var index = tensor(pending.Select(p => (long)p).ToArray(), device: points.device);
        var (picked, theirs) = (points.index_select(0, index), own.index_select(0, index)); // [p, d], [p]
        foreach (var (start, length) in FeatureBlocks.Of(points.shape[0], 16 * Math.Max(pending.Count, points.shape[1])))
        {
            using var step = NewDisposeScope();
            var block = all.narrow(0, start, length); // [b]
            block.copy_(block.minimum(values(points.narrow(0, start, length), own.narrow(0, start, length), picked, theirs)));
        }

        foreach (var pick in pending)
        {
            all.select(0, pick).fill_(Kept(double.NegativeInfinity));
        }
    }

    private static double Number(Tensor value) => value.to_type(ScalarType.Float64).item<double>();
}
