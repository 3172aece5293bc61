using Influence.Display;

namespace Influence.Mixtures;

public sealed partial record TikmixD
{
    /// <summary>What a mixture means for one target.</summary>
    /// <param name="Target">Its name.</param>
    /// <param name="Influence">Predicted influence under the mixture, Phat: per token, over <paramref name="Scale"/>.</param>
    /// <param name="PriorInfluence">The same under the prior; the constraint is that the former is no less.</param>
    /// <param name="Scale">What per-token influence was divided by: that of the best group, or the largest magnitude where no group
    /// helps.</param>
    /// <param name="ShadowPrice">The constraint's multiplier: how much the objective would fall per unit of influence that the target may
    /// lose. 0 where the constraint does not bind.</param>
    /// <param name="Cost">How much lower the objective would be without this target's constraint.</param>
    /// <param name="NothingHelps">Whether its influence is negative or 0 from every group: it can only be harmed less.</param>
    public sealed record Row(
        string Target,
        double Influence,
        double PriorInfluence,
        double Scale,
        double ShadowPrice,
        double Cost,
        bool NothingHelps
    );

    /// <summary>What <see cref="TikmixD"/> found: the mixture, what it promises each target, and what each constraint costs.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        internal Result(
            Mixture mixture,
            Mixture prior,
            IReadOnlyList<Row> targets,
            IReadOnlyList<(string Group, bool Upper, double Bound, double ShadowPrice)> bounds,
            double objective,
            double gap,
            double scale,
            double violation,
            int iterations
        )
        {
            (Mixture, Prior, Targets, Bounds) = (mixture, prior, targets, bounds);
            (Objective, Gap, Scale, Violation, Iterations) = (objective, gap, scale, violation, iterations);
        }

        /// <summary>The best mixture.</summary>
        public Mixture Mixture { get; }

        /// <summary>The mixture that no target may fall behind.</summary>
        public Mixture Prior { get; }

        /// <summary>One a target.</summary>
        public IReadOnlyList<Row> Targets { get; }

        /// <summary>
        /// The bounds that hold the answer back, upper or lower, each with its multiplier: how much the objective would fall per unit of
        /// weight that the bound is loosened by. Empty where none does.
        /// </summary>
        public IReadOnlyList<(string Group, bool Upper, double Bound, double ShadowPrice)> Bounds { get; }

        /// <summary>The objective's value, lower is better.</summary>
        public double Objective { get; }

        /// <summary>
        /// How far above the true minimum <see cref="Objective"/> can be at most, by duality; it is computed from the answer itself
        /// and holds whatever the solver did.
        /// </summary>
        public double Gap { get; }

        /// <summary>
        /// The size of the objective's terms, which rounding goes by: the largest of Alpha, Gamma and Beta times a group's total influence
        /// in magnitude.
        /// </summary>
        public double Scale { get; }

        /// <summary>The most by which a constraint is missed: in normalised influence for targets, in weight for bounds; 0 if none
        /// is.</summary>
        public double Violation { get; }

        /// <summary>Newton steps taken.</summary>
        public int Iterations { get; }

        /// <summary>Whether the violation is at most 1e-6, and the gap at most 1e-6 or, of an objective larger than 1, 1e-6 of
        /// <see cref="Scale"/>.</summary>
        public bool Converged => Gap <= 1e-6 * Math.Max(1, Scale) && Violation <= 1e-6;

        /// <summary>One row a target.</summary>
        /// <returns>The mixture and the targets as text.</returns>
        public override string ToString() => Mixture + Environment.NewLine + Environment.NewLine + ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"TiKMiX-D: objective {Objective:G5}, at most {Gap:G1} above the minimum; "
                    + $"{string.Join(", ", Mixture.Names.Select((n, j) => $"{n} {Mixture.Weights[j]:P1}"))}",
                ["target", "influence", "under the prior", "shadow price", "cost of its constraint", "note"],
                [
                    .. Targets.Select(t =>
                        (IReadOnlyList<object>)
                            [
                                t.Target,
                                t.Influence,
                                t.PriorInfluence,
                                t.ShadowPrice,
                                t.Cost,
                                t.NothingHelps ? "no group helps it" : string.Empty,
                            ]
                    ),
                ]
            );
    }
}
