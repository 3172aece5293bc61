using Influence.Display;

namespace Influence.Scorers;

public sealed partial record GradientSpectra
{
    /// <summary>
    /// Nuclear norms and effective ranks of every example's gradient of every linear layer, <c>[examples, layers]</c>, and cosines between
    /// layers, <c>[examples, pairs]</c>. Plain memory; nothing to dispose.
    /// </summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        internal Result(
            IReadOnlyList<long> ids,
            IReadOnlyList<string> layers,
            IReadOnlyList<(string First, string Second)> pairs,
            IReadOnlyList<IReadOnlyList<double>> nuclearNorms,
            IReadOnlyList<IReadOnlyList<double>> effectiveRanks,
            IReadOnlyList<IReadOnlyList<double>> cosines,
            ScoreMetadata metadata
        )
        {
            (Ids, Layers, Pairs, Metadata) = (ids, layers, pairs, metadata);
            (NuclearNorms, EffectiveRanks, Cosines) = (nuclearNorms, effectiveRanks, cosines);
        }

        /// <summary>The examples' ids: the rows.</summary>
        public IReadOnlyList<long> Ids { get; }

        /// <summary>The layers' paths, in the order of the model's modules: the columns.</summary>
        public IReadOnlyList<string> Layers { get; }

        /// <summary>The pairs of layers that were compared: the columns of <see cref="Cosines"/>.</summary>
        public IReadOnlyList<(string First, string Second)> Pairs { get; }

        /// <summary>The sum of singular values, <c>[example][layer]</c>.</summary>
        public IReadOnlyList<IReadOnlyList<double>> NuclearNorms { get; }

        /// <summary>The exponential of the entropy of the singular values, <c>[example][layer]</c>; 0 for a gradient of zero.</summary>
        public IReadOnlyList<IReadOnlyList<double>> EffectiveRanks { get; }

        /// <summary>The cosine between two layers' gradients, <c>[example][pair]</c>, -1 to 1; 0 where one of them is zero.</summary>
        public IReadOnlyList<IReadOnlyList<double>> Cosines { get; }

        /// <summary>How they were made and how to read them.</summary>
        public ScoreMetadata Metadata { get; }

        /// <summary>Each example's nuclear norm, the mean over layers.</summary>
        /// <returns>One score per example.</returns>
        public ExampleScores MeanNuclearNorm() => Mean("Nuclear norm of the gradient, mean over layers", NuclearNorms);

        /// <summary>Each example's effective rank, the mean over layers.</summary>
        /// <returns>One score per example.</returns>
        public ExampleScores MeanEffectiveRank() => Mean("Effective rank of the gradient, mean over layers", EffectiveRanks);

        /// <summary>Each example's cosine, the mean over pairs of layers.</summary>
        /// <returns>One score per example.</returns>
        /// <exception cref="InfluenceException">No pair was compared.</exception>
        public ExampleScores MeanCosine() =>
            Pairs.Count > 0
                ? Mean("Cosine between layers' gradients, mean over pairs", Cosines)
                : throw new InfluenceException(
                    "No two layers were compared. Write new GradientSpectra { Pairs = [(\"first\", \"second\")] } with two of "
                        + $"{InfluenceException.List(Layers)}, of equal shape."
                );

        /// <summary>A table of the layers with the means over the examples.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"Gradient spectra: means over {Ids.Count:N0} examples",
                ["layer", "nuclear norm", "effective rank", "cosine with"],
                [
                    .. Layers.Select(
                        (layer, l) =>
                            (IReadOnlyList<object>)
                                [
                                    layer,
                                    NuclearNorms.Average(row => row[l]),
                                    EffectiveRanks.Average(row => row[l]),
                                    string.Join(
                                        ", ",
                                        Pairs
                                            .Index()
                                            .Where(p => p.Item.First == layer)
                                            .Select(p =>
                                                FormattableString.Invariant($"{p.Item.Second} {Cosines.Average(row => row[p.Index]):0.00}")
                                            )
                                    ),
                                ]
                    ),
                ]
            );

        private ExampleScores Mean(string title, IReadOnlyList<IReadOnlyList<double>> values) =>
            new(title, Ids, [.. values.Select(row => row.Average())], Metadata with { Estimator = title });
    }
}
