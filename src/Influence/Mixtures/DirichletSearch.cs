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
internal sealed record DirichletSearch
{
    /// <summary>The first and widest concentration.</summary>
    /// <value>10.</value>
    /// <exception cref="InfluenceException">Not above 0, or not finite.</exception>
    public double MinimumConcentration
    {
        get;
        init => field = Check.Positive(value);
    } = 10;

    /// <summary>The last and closest concentration.</summary>
    /// <value>10,000.</value>
    /// <exception cref="InfluenceException">Not above 0, or not finite.</exception>
    public double MaximumConcentration
    {
        get;
        init => field = Check.Positive(value);
    } = 10_000;

    /// <summary>Concentrations, evenly spaced in the logarithm.</summary>
    /// <value>20.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Steps
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 20;

    /// <summary>Mixtures drawn per step.</summary>
    /// <value>1,000.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Draws
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 1000;

    /// <summary>How many of the best are averaged.</summary>
    /// <value>16.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Top
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 16;

    /// <summary>Decides every draw.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Searches.</summary>
    /// <param name="start">Where to start.</param>
    /// <param name="predict">Higher is better.</param>
    /// <param name="accept">Which mixtures may be used, a convex set so that means stay in it; null for all. The start is always
    /// accepted.</param>
    /// <returns>The best mixture found, predicted no worse than the start.</returns>
    /// <exception cref="InfluenceException">Settings out of range, or a prediction that is not a number.</exception>
    public Mixture Maximize(Mixture start, Func<Mixture, double> predict, Func<Mixture, bool>? accept = null)
    {
        ArgumentNullException.ThrowIfNull(start);
        ArgumentNullException.ThrowIfNull(predict);
        CheckRanges();
        var (best, value) = (start, Value(start));
        foreach (var (concentration, step) in Simplex.LogSpaced(MinimumConcentration, MaximumConcentration, Steps).Select((c, i) => (c, i)))
        {
            var random = new KeyedRandom(Seed, "Dirichlet search", step);
            double[] alpha = [.. best.Weights.Select(w => concentration * w)];
            var top = Enumerable
                .Range(0, Draws)
                .Select(_ => new Mixture(start.Names, random.Dirichlet(alpha)))
                .Where(m => accept?.Invoke(m) ?? true)
                .Select(m => (Mixture: m, Value: Value(m)))
                .OrderByDescending(m => m.Value)
                .Take(Top)
                .ToList();
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

        double Value(Mixture mixture) =>
            predict(mixture) is var predicted && !double.IsNaN(predicted)
                ? predicted
                : throw new InfluenceException($"A mixture's predicted value is not a number:{Environment.NewLine}{mixture}");
    }

    private void CheckRanges()
    {
        if (MinimumConcentration > MaximumConcentration || Top > Draws)
        {
            throw new InfluenceException(
                $"Concentrations go from small (wide) to large (close), and Top is at most Draws; found {MinimumConcentration} and "
                    + $"{MaximumConcentration}, Top {Top} and Draws {Draws}."
            );
        }
    }
}
