using Influence.Groups;
using Influence.Mixtures;

namespace Influence.Tests.Mixtures;

/// <summary>The objective and constraints of TikmixD written out anew, and their minimum over a grid of two or three weights.</summary>
internal sealed class MixtureGrid(TikmixD settings, GroupScores scores, double[] prior)
{
    private readonly int _targets = scores.QueryGroups.Count;
    private readonly int _groups = scores.TrainGroups.Count;

    public double Objective(IReadOnlyList<double> w)
    {
        var p = Enumerable.Range(0, _targets).Select(i => Phat(i, w)).ToList();
        var mean = p.Average();
        return (settings.Alpha * Math.Sqrt(p.Average(x => (x - mean) * (x - mean))))
            - (settings.Beta * p.Sum())
            + (settings.Gamma * w.Sum(x => x > 0 ? x * Math.Log(x) : 0));
    }

    /// <summary>The best of a coarse grid over the simplex, a fine one around its best, and one finer still around a proposal.</summary>
    public (double[] Best, double Objective) Minimum(IReadOnlyList<double> proposal)
    {
        var coarse = Best(Points([.. prior], 1, 0.005).Prepend(prior));
        var fine = Best(Points(coarse.W, 0.01, 0.0002).Prepend(coarse.W));
        var near = Best(Points([.. proposal], 0.001, 0.00002));
        return near.Value < fine.Value ? near : fine;
    }

    private (double[] W, double Value) Best(IEnumerable<double[]> points) =>
        points.Where(Feasible).Select(w => (w, Objective(w))).DefaultIfEmpty((prior, double.PositiveInfinity)).MinBy(p => p.Item2);

    private bool Feasible(double[] w)
    {
        for (var i = 0; i < _targets; i++)
        {
            if (Phat(i, w) < Phat(i, prior) - 1e-12)
            {
                return false;
            }
        }

        return Within("a", 0) && Within("b", 1);

        bool Within(string group, int j) =>
            !settings.Bounds.Groups.Contains(group) || (group == "a" ? w[j] <= 0.3 : w[j] is >= 0.2 and <= 0.9);
    }

    private IEnumerable<double[]> Points(double[] centre, double reach, double step)
    {
        for (var a = Math.Max(0, Math.Round((centre[0] - reach) / step) * step); a <= Math.Min(1, centre[0] + reach) + 1e-12; a += step)
        {
            if (_groups == 2)
            {
                yield return [a, Math.Max(0, 1 - a)];
                continue;
            }

            for (
                var b = Math.Max(0, Math.Round((centre[1] - reach) / step) * step);
                b <= Math.Min(1 - a, centre[1] + reach) + 1e-12;
                b += step
            )
            {
                yield return [a, b, Math.Max(0, 1 - a - b)];
            }
        }
    }

    private double Phat(int i, IReadOnlyList<double> w)
    {
        var row = Enumerable.Range(0, _groups).Select(j => scores.PerToken(i, j)).ToArray();
        var scale = row.Max() > 1e-3 * row.Max(Math.Abs) ? row.Max() : row.Max(Math.Abs);
        return row.Select((s, j) => s * w[j]).Sum() / scale;
    }
}
