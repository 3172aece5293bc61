using System.Globalization;
using Influence.Display;

namespace Influence.Evaluation;

public sealed partial record Retraining
{
    /// <summary>
    /// What retrained models measured, <c>[runs, Q]</c>, with the subset and the seed of each run. Lower is better: rewards were
    /// negated. Plain memory; nothing to dispose.
    /// </summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly double[][] _losses;
        private readonly int[] _subsetOf;

        private Result(Subsets subsets, IReadOnlyList<long> queryIds, int[] subsetOf, long[] seeds, double[][] losses)
        {
            (Subsets, QueryIds, _subsetOf, Seeds, _losses) = (subsets, [.. queryIds], subsetOf, seeds, losses);
            NotFinite =
            [
                .. losses
                    .SelectMany((row, run) => row.Select((value, q) => (Run: run, Query: QueryIds[q], value)))
                    .Where(m => !double.IsFinite(m.value))
                    .Select(m => (m.Run, m.Query)),
            ];
        }

        /// <summary>The subsets, M. Each has one or more runs.</summary>
        public Subsets Subsets { get; }

        /// <summary>The queries' ids, column by column.</summary>
        public IReadOnlyList<long> QueryIds { get; }

        /// <summary>Each run's seed.</summary>
        public IReadOnlyList<long> Seeds { get; }

        /// <summary>The number of runs.</summary>
        public int Count => _losses.Length;

        /// <summary>Runs and query ids whose measurement is no finite number. Metrics leave those queries out and say so.</summary>
        public IReadOnlyList<(int Run, long QueryId)> NotFinite { get; }

        /// <summary>The measurement of a query by a run's model; lower is better.</summary>
        /// <param name="run">The run, from 0.</param>
        /// <param name="query">The query's column (not id).</param>
        public double this[int run, int query] => _losses[run][query];

        /// <summary>The subset of a run.</summary>
        /// <param name="run">The run, from 0.</param>
        public TrainingSubset SubsetOf(int run) => Subsets[_subsetOf[run]];

        /// <summary>Runs that were made elsewhere, as by another tool.</summary>
        /// <param name="subsets">M subsets.</param>
        /// <param name="queryIds">Q ids.</param>
        /// <param name="measurements"><c>[M * R, Q]</c>: the R runs of the first subset, then those of the second, and so on;
        /// copied.</param>
        /// <param name="seeds">R seeds; unless given, 0 to R - 1.</param>
        /// <param name="higherIsBetter">Whether the measurement is a reward, to be negated.</param>
        /// <returns>The runs.</returns>
        /// <exception cref="InfluenceException">Shapes that do not fit.</exception>
        public static Result Of(
            Subsets subsets,
            IReadOnlyList<long> queryIds,
            double[,] measurements,
            IReadOnlyList<long>? seeds = null,
            bool higherIsBetter = false
        )
        {
            ArgumentNullException.ThrowIfNull(subsets);
            ArgumentNullException.ThrowIfNull(queryIds);
            ArgumentNullException.ThrowIfNull(measurements);
            var (runs, q) = (measurements.GetLength(0), measurements.GetLength(1));
            var repeats = seeds?.Count ?? Math.Max(1, runs / Math.Max(1, subsets.Count));
            if (
                subsets.Count == 0
                || repeats == 0
                || runs != subsets.Count * repeats
                || q != queryIds.Count
                || queryIds.Distinct().Count() != queryIds.Count
            )
            {
                throw new InfluenceException(
                    $"Measurements are [subsets times seeds, queries] = [{subsets.Count} * {repeats}, {queryIds.Count}], with a query id "
                        + $"for each column, none twice; found [{runs}, {q}]."
                );
            }

            return new Result(
                subsets,
                queryIds,
                [.. Enumerable.Range(0, runs).Select(r => r / repeats)],
                [.. Enumerable.Range(0, runs).Select(r => seeds?[r % repeats] ?? r % repeats)],
                [
                    .. Enumerable
                        .Range(0, runs)
                        .Select(r =>
                            Enumerable.Range(0, q).Select(c => higherIsBetter ? -measurements[r, c] : measurements[r, c]).ToArray()
                        ),
                ]
            );
        }

        /// <summary>Runs that were made elsewhere, with masks in place of subsets.</summary>
        /// <param name="masks"><c>[M, N]</c>: whether example n was in subset m.</param>
        /// <param name="measurements"><c>[M * R, Q]</c>: the R runs of the first subset, then those of the second, and so on;
        /// copied.</param>
        /// <param name="trainIds">N ids; unless given, 0, 1, 2, ...</param>
        /// <param name="queryIds">Q ids; unless given, 0, 1, 2, ...</param>
        /// <param name="higherIsBetter">Whether the measurement is a reward, to be negated.</param>
        /// <returns>The runs.</returns>
        /// <exception cref="InfluenceException">Shapes that do not fit.</exception>
        public static Result Of(
            bool[,] masks,
            double[,] measurements,
            IReadOnlyList<long>? trainIds = null,
            IReadOnlyList<long>? queryIds = null,
            bool higherIsBetter = false
        )
        {
            ArgumentNullException.ThrowIfNull(masks);
            ArgumentNullException.ThrowIfNull(measurements);
            trainIds ??= Positions(masks.GetLength(1));
            if (trainIds.Count != masks.GetLength(1))
            {
                throw new InfluenceException(
                    $"Masks are [subsets, training examples]; found [{masks.GetLength(0)}, {masks.GetLength(1)}] "
                        + $"for {trainIds.Count} training ids."
                );
            }

            var subsets = Subsets.Of(
                trainIds,
                [
                    .. Enumerable
                        .Range(0, masks.GetLength(0))
                        .Select(m => ($"subset {m.ToString(CultureInfo.InvariantCulture)}", trainIds.Where((_, n) => masks[m, n]))),
                ]
            );
            return Of(subsets, queryIds ?? Positions(measurements.GetLength(1)), measurements, seeds: null, higherIsBetter);

            static long[] Positions(int count) => [.. Enumerable.Range(0, count).Select(i => (long)i)];
        }

        /// <summary>Reads a folder that <see cref="Retraining"/> keeps.</summary>
        /// <param name="folder">The folder.</param>
        /// <param name="unfinished">Whether a folder that lacks runs is read too: the subsets with all of their runs.</param>
        /// <returns>The runs.</returns>
        /// <exception cref="InfluenceException">It is no such folder, or runs are missing or damaged (which).</exception>
        public static Result Load(string folder, bool unfinished = false)
        {
            ArgumentNullException.ThrowIfNull(folder);
            var opened = RetrainingFolder.Open(folder);
            var manifest = opened.Manifest;
            var read = Enumerable.Range(0, manifest.RunCount).Select(opened.Read).ToArray();
            var (repeats, all) = (manifest.Seeds.Length, manifest.Subsets());
            int[] whole =
            [
                .. Enumerable
                    .Range(0, all.Count)
                    .Where(j => Enumerable.Range(j * repeats, repeats).All(run => read[run].Values is not null)),
            ];
            if (whole.Length < all.Count && (!unfinished || whole.Length == 0))
            {
                int[] missing = [.. Enumerable.Range(0, read.Length).Where(run => read[run].Values is null)];
                var damaged = read.Select(r => r.Problem).OfType<string>().FirstOrDefault();
                throw new InfluenceException(
                    $"{folder} lacks {missing.Length} of {manifest.RunCount} runs: "
                        + $"{InfluenceException.List(missing)}.{(damaged is null ? string.Empty : $" {damaged}.")} "
                        + "Call Retraining.Run again to have them made"
                        + (whole.Length == 0 ? "." : ", or write unfinished: true to read the subsets that are complete.")
                );
            }

            int[] runs = [.. whole.SelectMany(j => Enumerable.Range(j * repeats, repeats))];
            return new Result(
                new Subsets(all.TrainIds, whole.Select(j => (all[j].Name, all[j].Bits))),
                manifest.QueryIds,
                [.. runs.Select((_, r) => r / repeats)],
                [.. runs.Select(run => manifest.RunOf(run).Seed)],
                [.. runs.Select(run => manifest.HigherIsBetter ? read[run].Values!.Select(v => -v).ToArray() : read[run].Values!)]
            );
        }

        /// <summary>The mean over a subset's runs, <c>[M][Q]</c>; over those with some seeds only where so asked.</summary>
        internal double[][] Means(Func<long, bool>? seeds = null)
        {
            var (sums, counts) = (new double[Subsets.Count][], new int[Subsets.Count]);
            for (var run = 0; run < Count; run++)
            {
                if (seeds is null || seeds(Seeds[run]))
                {
                    var sum = sums[_subsetOf[run]] ??= new double[QueryIds.Count];
                    counts[_subsetOf[run]]++;
                    for (var q = 0; q < sum.Length; q++)
                    {
                        sum[q] += _losses[run][q];
                    }
                }
            }

            return [.. sums.Select((sum, j) => sum.Select(v => v / counts[j]).ToArray())];
        }

        /// <summary>A table of each subset's mean measurement.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable()
        {
            var means = Means();
            return new Table(
                $"{Count:N0} runs on {Subsets.Count:N0} subsets of {Subsets.TrainIds.Count:N0} training examples, {QueryIds.Count:N0} "
                    + "queries, lower = better"
                    + (
                        NotFinite.Count == 0
                            ? string.Empty
                            : $"; {NotFinite.Count:N0} measurements are not finite, the first of query "
                                + $"{NotFinite[0].QueryId} in run {NotFinite[0].Run}"
                    ),
                ["subset", "examples", "mean over queries"],
                [.. Subsets.Take(Table.MaximumRows).Select((s, j) => (IReadOnlyList<object>)[s.Name, s.Count, means[j].Average()])],
                Subsets.Count
            );
        }
    }
}
