using System.Globalization;
using Influence.Display;

namespace Influence.Groups;

public sealed partial record GroupEffect
{
    /// <summary>
    /// How query groups' mean measurements are predicted to change when each training group, on its own, is re-weighted. In the
    /// measurement's unit, after less before: positive, the measurement rises. Plain memory; nothing to dispose.
    /// </summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly IReadOnlyDictionary<GroupEffect.Expansion, (double[,] Linear, double[,] Moved)> _values;

        internal Result(
            IReadOnlyList<string> queryGroups,
            IReadOnlyList<string> trainGroups,
            double weight,
            ScoreMetadata metadata,
            IReadOnlyDictionary<GroupEffect.Expansion, (double[,] Linear, double[,] Moved)> values
        ) => (QueryGroups, TrainGroups, Weight, Metadata, _values) = (queryGroups, trainGroups, weight, metadata, values);

        /// <summary>The query groups' names, row by row.</summary>
        public IReadOnlyList<string> QueryGroups { get; }

        /// <summary>The training groups' names, column by column.</summary>
        public IReadOnlyList<string> TrainGroups { get; }

        /// <summary>What each group counts afterwards: 0 removed, 1/2 halved, 2 doubled.</summary>
        public double Weight { get; }

        /// <summary>How they were made and how to read them.</summary>
        public ScoreMetadata Metadata { get; }

        /// <summary>The orders that were computed.</summary>
        public IReadOnlyList<GroupEffect.Expansion> Orders => [.. _values.Keys.Order()];

        /// <summary>The prediction to use: the measurement at the moved weights, by the highest order that was computed.</summary>
        /// <param name="query">Row.</param>
        /// <param name="train">Column.</param>
        public double Predicted(int query, int train) => Moved(query, train, Orders[^1]);

        /// <summary>The measurement's gradient times the predicted change of the parameters.</summary>
        /// <param name="query">Row.</param>
        /// <param name="train">Column.</param>
        /// <param name="order">How the change was predicted.</param>
        /// <exception cref="InfluenceException">It was not computed.</exception>
        public double Linear(int query, int train, GroupEffect.Expansion order) => Of(order).Linear[query, train];

        /// <summary>The measurement at the predicted parameters, less what it is now. It is NaN or infinite where they are too far off;
        /// write more damping then.</summary>
        /// <param name="query">Row.</param>
        /// <param name="train">Column.</param>
        /// <param name="order">How the change was predicted.</param>
        /// <exception cref="InfluenceException">It was not computed.</exception>
        public double Moved(int query, int train, GroupEffect.Expansion order) => Of(order).Moved[query, train];

        /// <summary>One row a training group, one column a query group: <see cref="Predicted"/>.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{Metadata.Estimator}: rise of the measurement when the group counts {Weight:G4} times"
                ),
                ["training group", .. QueryGroups],
                [.. TrainGroups.Select((g, j) => (IReadOnlyList<object>)[g, .. QueryGroups.Select((_, q) => (object)Predicted(q, j))])]
            );

        private (double[,] Linear, double[,] Moved) Of(GroupEffect.Expansion order) =>
            _values.TryGetValue(order, out var found)
                ? found
                : throw new InfluenceException(
                    $"The order {order} was not computed; there are {InfluenceException.List(Orders)}. Write new "
                        + $"GroupEffect(...) {{ Order = GroupEffect.Expansion.{order} }}."
                );
    }
}
