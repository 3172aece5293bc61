using Influence.Display;

namespace Influence.Mixtures;

public sealed partial record MixtureSearch
{
    /// <summary>What a search over evaluated mixtures found.</summary>
    /// <param name="Mixture">The mixture predicted to be best.</param>
    /// <param name="Predicted">Its predicted value.</param>
    /// <param name="Observed">Every evaluated mixture, in order.</param>
    /// <param name="HeldOutRankCorrelations">How well the predictor of each round ranks mixtures that it did not see: Spearman's
    /// correlation over five folds.</param>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed record Result(
        Mixture Mixture,
        double Predicted,
        IReadOnlyList<Mixture.Point> Observed,
        IReadOnlyList<double> HeldOutRankCorrelations
    ) : IDisplay
    {
        /// <summary>The mixture and what stands behind it.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"Best of {Observed.Count} evaluated mixtures and a regression: predicted {Predicted:G5}; held-out rank correlation "
                    + $"{string.Join(", ", HeldOutRankCorrelations.Select(c => $"{c:F3}"))}",
                ["group", "weight"],
                [.. Mixture.Names.Select((name, j) => (IReadOnlyList<object>)[name, Mixture.Weights[j]])]
            );
    }
}
