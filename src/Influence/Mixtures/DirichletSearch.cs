using Influence.Numerics;

namespace Influence.Mixtures;

/// <summary>
/// Searches for the mixture with the highest prediction by drawing around the best one so far, first widely, then ever
/// more closely.
/// </summary>
/// <remarks>
/// For concentrations c from <see cref="MinimumConcentration"/> to <see cref="MaximumConcentration"/>: draw from
/// Dirichlet(c w_best), and let w_best be the mean of the draws that are predicted best, if that is predicted better.
/// TiKMiX (2025) words its schedule the other way round, but a large concentration is a narrow distribution: a search that
/// is to close in goes from small to large. A group whose weight is 0 in the start keeps it.
/// </remarks>
public sealed record DirichletSearch
{
    /// <summary>The first and widest concentration.</summary>
    /// <value>10.</value>
    public double MinimumConcentration { get; init; } = 10;

    /// <summary>The last and closest concentration.</summary>
    /// <value>10,000.</value>
    public double MaximumConcentration { get; init; } = 10_000;

    /// <summary>Concentrations, evenly spaced in the logarithm.</summary>
    /// <value>20.</value>
    public int Steps { get; init; } = 20;

    /// <summary>Mixtures drawn per step.</summary>
    /// <value>1,000.</value>
    public int Draws { get; init; } = 1000;

    /// <summary>How many of the best are averaged.</summary>
    /// <value>16.</value>
    public int Top { get; init; } = 16;

    /// <summary>Decides every draw.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Searches.</summary>
    /// <param name="start">Where to start.</param>
    /// <param name="predict">Higher is better.</param>
    /// <param name="accept">Which mixtures may be used, a convex set so that means stay in it; null for all. The start is always accepted.</param>
    /// <returns>The best mixture found, predicted no worse than the start.</returns>
    /// <exception cref="InfluenceException">Settings out of range, or a prediction that is not a number.</exception>
    public Mixture Maximize(Mixture start, Func<Mixture, double> predict, Func<Mixture, bool>? accept = null)
    {
        ArgumentNullException.ThrowIfNull(start);
        ArgumentNullException.ThrowIfNull(predict);
        Check();
        var (best, value) = (start, Value(start));
        foreach (var (concentration, step) in Simplex.LogSpaced(MinimumConcentration, MaximumConcentration, Steps).Select((c, i) => (c, i)))
        {
            var random = new KeyedRandom(Seed, "Dirichlet search", step);
            double[] alpha = [.. best.Weights.Select(w => concentration * w)];
            var top = Enumerable.Range(0, Draws).Select(_ => new Mixture(start.Names, random.Dirichlet(alpha)))
                .Where(m => accept?.Invoke(m) ?? true)
                .Select(m => (Mixture: m, Value: Value(m))).OrderByDescending(m => m.Value).Take(Top).ToList();
            if (top.Count == 0)
            {
                continue;
            }

            var mean = new Mixture(start.Names, Simplex.Mean([.. top.Select(m => m.Mixture.Weights)]));
            if (Value(mean) is var candidate && candidate > value)
            {
                (best, value) = (mean, candidate);
            }
        }

        return best;

        double Value(Mixture mixture) => predict(mixture) is var predicted && !double.IsNaN(predicted)
            ? predicted
            : throw new InfluenceException($"A mixture's predicted value is not a number:{Environment.NewLine}{mixture}");
    }

    private void Check()
    {
        var problems = new List<string>();
        if (!(MinimumConcentration > 0 && MinimumConcentration <= MaximumConcentration) || !double.IsFinite(MaximumConcentration))
        {
            problems.Add($"Concentrations go from small (wide) to large (close), both more than 0; found {MinimumConcentration} and {MaximumConcentration}.");
        }

        if (Steps < 1 || Draws < 1 || Top < 1 || Top > Draws)
        {
            problems.Add($"At least 1 step and 1 <= Top <= Draws are expected; found {Steps} steps, Top {Top} and Draws {Draws}.");
        }

        InfluenceException.ThrowIfAny(problems);
    }
}
