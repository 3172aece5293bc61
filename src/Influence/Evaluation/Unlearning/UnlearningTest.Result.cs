using System.Globalization;
using Influence.Display;

namespace Influence.Evaluation;

public sealed partial record UnlearningTest
{
    /// <summary>What one model loses on the forgotten, the kept and unseen examples. Plain memory.</summary>
    public sealed class ModelLosses
    {
        private readonly long[] _ids;

        private ModelLosses(IEnumerable<long> ids, double[] forget, double[] keep, double[] test, double[] peers) =>
            (_ids, Forget, Keep, Test, Peers) = ([.. ids], forget, keep, test, peers);

        /// <summary>The loss of each forgotten example.</summary>
        public IReadOnlyList<double> Forget { get; }

        /// <summary>The loss of each kept example.</summary>
        public IReadOnlyList<double> Keep { get; }

        /// <summary>The loss of each unseen example.</summary>
        public IReadOnlyList<double> Test { get; }

        /// <summary>The loss of each unseen example of the forgotten ones' kind.</summary>
        public IReadOnlyList<double> Peers { get; }

        /// <summary>The losses of a retrained model, from a run whose queries are the forgotten, kept and unseen examples.</summary>
        /// <param name="runs">The runs; their measurement is the loss.</param>
        /// <param name="run">Which, from 0.</param>
        /// <param name="forget">Query ids of the forgotten examples.</param>
        /// <param name="keep">Query ids of the kept examples.</param>
        /// <param name="test">Query ids of the unseen examples.</param>
        /// <param name="peers">Query ids of the unseen examples of the forgotten ones' kind; null: those of
        /// <paramref name="test"/>.</param>
        /// <returns>The losses.</returns>
        /// <exception cref="InfluenceException">A query that the runs lack, or a loss that is not finite.</exception>
        public static ModelLosses FromRun(
            Retraining.Result runs,
            int run,
            IReadOnlyList<long> forget,
            IReadOnlyList<long> keep,
            IReadOnlyList<long> test,
            IReadOnlyList<long>? peers = null
        )
        {
            ArgumentNullException.ThrowIfNull(runs);
            ArgumentNullException.ThrowIfNull(forget);
            ArgumentNullException.ThrowIfNull(keep);
            ArgumentNullException.ThrowIfNull(test);
            var columns = runs.QueryIds.Index().ToDictionary(query => query.Item, query => query.Index);
            return
                forget.Concat(keep).Concat(test).Concat(peers ?? []).Where(id => !columns.ContainsKey(id)).ToList()
                    is { Count: > 0 } missing
                ? throw new InfluenceException(
                    $"The runs measured no queries of the ids {InfluenceException.List(missing)}; they need "
                        + "the forgotten, kept and unseen examples as queries."
                )
                : Of(Losses(forget), Losses(keep), Losses(test), peers is null ? null : Losses(peers));

            IReadOnlyList<(long, double)> Losses(IReadOnlyList<long> ids) => [.. ids.Select(id => (id, runs[run, columns[id]]))];
        }

        internal static ModelLosses Of(
            IReadOnlyList<(long Id, double Loss)> forget,
            IReadOnlyList<(long Id, double Loss)> keep,
            IReadOnlyList<(long Id, double Loss)> test,
            IReadOnlyList<(long Id, double Loss)>? peers
        )
        {
            peers ??= test;
            if (forget.Count == 0 || keep.Count == 0 || test.Count == 0 || peers.Count == 0)
            {
                throw new InfluenceException(
                    $"Forgotten, kept and unseen examples are needed; found {forget.Count}, {keep.Count} and "
                        + $"{test.Count}, with {peers.Count} of the forgotten ones' kind."
                );
            }

            List<(long Id, double Loss)> all = [.. forget, .. keep, .. test, .. peers];
            var broken = all.Where(pair => !double.IsFinite(pair.Loss)).Select(pair => pair.Id).ToList();
            return broken.Count > 0
                ? throw new InfluenceException(
                    $"Losses are NaN or infinite for the ids {InfluenceException.List(broken)}: the model cannot be judged."
                )
                {
                    ExampleIds = broken,
                }
                : new ModelLosses(
                    all.Select(pair => pair.Id),
                    [.. forget.Select(pair => pair.Loss)],
                    [.. keep.Select(pair => pair.Loss)],
                    [.. test.Select(pair => pair.Loss)],
                    [.. peers.Select(pair => pair.Loss)]
                );
        }

        internal bool HasSameIds(ModelLosses other) =>
            Forget.Count == other.Forget.Count
            && Keep.Count == other.Keep.Count
            && Test.Count == other.Test.Count
            && _ids.AsSpan().SequenceEqual(other._ids);
    }

    /// <summary>How one method compares with retraining.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Row : IDisplay
    {
        internal Row(string method, int unlearned, int retrained) => (Method, Unlearned, Retrained) = (method, unlearned, retrained);

        /// <summary>The method.</summary>
        public string Method { get; }

        /// <summary>The number of models that unlearned.</summary>
        public int Unlearned { get; }

        /// <summary>The number of retrained models.</summary>
        public int Retrained { get; }

        /// <summary>The mean loss of the forgotten examples, over models and examples.</summary>
        public Estimate ForgetLoss { get; internal init; }

        /// <summary>The mean loss of the kept examples.</summary>
        public Estimate KeepLoss { get; internal init; }

        /// <summary>The mean loss of the unseen examples.</summary>
        public Estimate TestLoss { get; internal init; }

        /// <summary>How well the loss tells forgotten from unseen examples; one half is not at all.</summary>
        public Estimate MembershipAuc { get; internal init; }

        /// <summary>The 95th percentile over forgotten examples of the divergence from retrained models; NaN with fewer than two models of
        /// either.</summary>
        public Estimate ForgetKlom { get; internal init; }

        /// <summary>The same over kept examples.</summary>
        public Estimate KeepKlom { get; internal init; }

        /// <summary>The same over unseen examples.</summary>
        public Estimate TestKlom { get; internal init; }

        /// <summary>Steps to relearn, model by model; null where it was given up; empty where it was not tried.</summary>
        public IReadOnlyList<int?> RelearningSteps { get; internal init; } = [];

        /// <summary>The mean time that unlearning took; null where it was not told.</summary>
        public TimeSpan? Cost { get; internal init; }

        /// <summary>Rows as one table; its KLoM is that of the forgotten, the kept and the unseen examples, without intervals.</summary>
        /// <param name="title">Above the table.</param>
        /// <param name="rows">The rows.</param>
        /// <returns>The table as text.</returns>
        public static string Table(string title, params IReadOnlyList<Row> rows)
        {
            ArgumentNullException.ThrowIfNull(rows);
            return ToTable(title, rows).ToText();
        }

        /// <summary>A table of this row.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable("Unlearning against retraining", [this]).ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment.</returns>
        public string ToHtml() => ToTable("Unlearning against retraining", [this]).ToHtml();

        Table IDisplay.ToTable() => ToTable("Unlearning against retraining", [this]);

        private static Table ToTable(string title, IReadOnlyList<Row> rows) =>
            new(
                title,
                ["method", "models", "forget loss", "keep loss", "test loss", "membership AUC", "KLoM", "relearned", "seconds"],
                [
                    .. rows.Select(row =>
                        (IReadOnlyList<object>)
                            [
                                row.Method,
                                row.Unlearned,
                                Text(row.ForgetLoss),
                                Text(row.KeepLoss),
                                Text(row.TestLoss),
                                Text(row.MembershipAuc),
                                double.IsNaN(row.ForgetKlom.Value)
                                    ? "-"
                                    : string.Create(
                                        CultureInfo.InvariantCulture,
                                        $"{row.ForgetKlom.Value:0.0}, {row.KeepKlom.Value:0.0}, {row.TestKlom.Value:0.0}"
                                    ),
                                row.RelearningSteps.Count == 0
                                    ? "-"
                                    : string.Join(
                                        ' ',
                                        row.RelearningSteps.Select(steps => steps?.ToString(CultureInfo.InvariantCulture) ?? "never")
                                    ),
                                row.Cost?.TotalSeconds.ToString("0.00", CultureInfo.InvariantCulture) ?? "-",
                            ]
                    ),
                ]
            );

        private static string Text(Estimate estimate) =>
            string.Create(CultureInfo.InvariantCulture, $"{estimate.Value:0.00} [{estimate.Lower:0.00}, {estimate.Upper:0.00}]");
    }
}
