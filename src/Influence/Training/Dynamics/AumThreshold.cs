using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// The area under the margin below which to distrust a label, found with examples that are wrong for certain: some examples are
/// given a class that does not exist, and an example whose margin is like theirs is flagged (Pleiss et al., Identifying
/// Mislabeled Data using the Area Under the Margin Ranking, 2020, section 3.2).
/// </summary>
/// <remarks>
/// Of N examples in C classes, N/(C+1) get the class number C, so the model needs C + 1 outputs. The threshold is a percentile
/// of their areas. They cannot be judged themselves, so a second run gives the class to others:
/// <code>
/// var samples = new AumThreshold { Seed = 7 }.Draw(ids, classes: 10);
/// ... first run:  y = samples.Relabel(ids, y, run: 0);   dynamics.Record(ids, logits, y);
/// ... second run: the same with run: 1, and a recorder of its own
/// var flags = samples.Judge(first.AreaUnderMargin(..150), second.AreaUnderMargin(..150));
/// </code>
/// </remarks>
public sealed partial record AumThreshold
{
    /// <summary>Which examples are drawn.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>The percentile of the threshold samples' areas, as a share.</summary>
    /// <value>0.99: one in a hundred examples that are wrong for certain is let pass.</value>
    /// <exception cref="InfluenceException">Not above 0, or above 1.</exception>
    public double Percentile
    {
        get;
        init => field = Check.PositiveShare(value);
    } = 0.99;

    /// <summary>Draws the examples that get the class that does not exist, for two runs; none is in both.</summary>
    /// <param name="ids">The ids of all training examples, in any order.</param>
    /// <param name="classes">The number of real classes, C.</param>
    /// <returns>The samples.</returns>
    /// <exception cref="InfluenceException">Ids that repeat, or too few examples or classes.</exception>
    public Planned Draw(IReadOnlyList<long> ids, int classes)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var count = classes < 1 ? 0 : ids.Count / (classes + 1);
        if (ids.Distinct().Count() != ids.Count || count == 0)
        {
            throw new InfluenceException(
                $"Ids that do not repeat are expected, at least C + 1 of them for C classes; found {ids.Count} ids "
                    + $"({ids.Distinct().Count()} different) and {classes} classes."
            );
        }

        var random = new KeyedRandom(Seed, "AUM threshold samples");
        long[] order = [.. ids.OrderBy(random.Of).ThenBy(id => id)];
        return new Planned(Percentile, classes, ids.ToHashSet(), [order[..count].ToHashSet(), order[count..(2 * count)].ToHashSet()]);
    }

    /// <summary>Examples that get a class that does not exist, in each of two runs.</summary>
    public sealed class Planned
    {
        private readonly double _percentile;
        private readonly HashSet<long> _ids;
        private readonly HashSet<long>[] _samples;

        internal Planned(double percentile, int classes, HashSet<long> ids, HashSet<long>[] samples) =>
            (_percentile, Class, _ids, _samples) = (percentile, classes, ids, samples);

        /// <summary>The class that does not exist: C, where the real ones are 0 to C - 1.</summary>
        public int Class { get; }

        /// <summary>The examples that get it in a run.</summary>
        /// <param name="run">0 or 1.</param>
        /// <exception cref="InfluenceException">Another run.</exception>
        public IReadOnlySet<long> Of(int run) =>
            run is 0 or 1 ? _samples[run] : throw new InfluenceException($"There are two runs, 0 and 1; found {run}.");

        /// <summary>A batch's labels with the threshold samples' replaced.</summary>
        /// <param name="ids">The batch's ids.</param>
        /// <param name="labels">int64 <c>[B]</c>.</param>
        /// <param name="run">0 or 1.</param>
        /// <returns>int64 <c>[B]</c>, a new tensor of the caller's.</returns>
        /// <exception cref="InfluenceException">Another run, or labels that do not fit the ids.</exception>
        public Tensor Relabel(IReadOnlyList<long> ids, Tensor labels, int run)
        {
            ArgumentNullException.ThrowIfNull(ids);
            ArgumentNullException.ThrowIfNull(labels);
            var samples = Of(run);
            if (labels.dtype != ScalarType.Int64 || labels.dim() != 1 || labels.shape[0] != ids.Count)
            {
                throw new InfluenceException(
                    $"Labels are int64 [{ids.Count}], one for each id; found {labels.dtype} [{string.Join(", ", labels.shape)}]."
                );
            }

            using var scope = NewDisposeScope();
            var chosen = tensor(ids.Select(samples.Contains).ToArray(), device: labels.device); // [B]
            return labels.masked_fill(chosen, Kept(Class)).MoveToOuterDisposeScope(); // [B]
        }

        /// <summary>
        /// Judges the labels: the first run judges all examples but its own samples, the second run those.
        /// </summary>
        /// <param name="first">The first run's areas under the margin, of all its examples.</param>
        /// <param name="second">The second run's; without it the first run's samples are not judged.</param>
        /// <returns>The flagged examples.</returns>
        /// <exception cref="InfluenceException">Areas that lack threshold samples, or examples that were not drawn from.</exception>
        public Result Judge(ExampleScores first, ExampleScores? second = null)
        {
            ArgumentNullException.ThrowIfNull(first);
            var judged = new SortedDictionary<long, double>();
            var thresholds = new List<double> { JudgeRun(first, 0, id => !_samples[0].Contains(id), judged) };
            if (second is not null)
            {
                thresholds.Add(JudgeRun(second, 1, _samples[0].Contains, judged));
            }

            return new Result(
                ExampleScores.Of([.. judged.Keys], [.. judged.Values], "Area under the margin above the threshold"),
                thresholds,
                [.. _ids.Where(id => !judged.ContainsKey(id)).Order()]
            );
        }

        private double JudgeRun(ExampleScores areas, int run, Func<long, bool> judges, SortedDictionary<long, double> judged)
        {
            var unknown = areas.Ids.Where(id => !_ids.Contains(id)).ToList();
            var missing = _samples[run].Except(areas.Ids).Order().ToList();
            if (unknown.Count > 0 || missing.Count > 0)
            {
                throw new InfluenceException(
                    $"Run {run} has areas of {unknown.Count} examples that were not drawn from (ids "
                        + $"{InfluenceException.List(unknown)}) and lacks those of {missing.Count} threshold samples (ids "
                        + $"{InfluenceException.List(missing)}). Draw from all training examples, and record a whole epoch."
                );
            }

            var wrong = areas.Ids.Zip(areas.Values).Where(a => _samples[run].Contains(a.First)).Select(a => a.Second).Order().ToArray();
            var place = _percentile * (wrong.Length - 1);
            var below = (int)Math.Floor(place);
            var threshold = wrong[below] + ((place - below) * (wrong[Math.Min(below + 1, wrong.Length - 1)] - wrong[below]));
            foreach (var (id, area) in areas.Ids.Zip(areas.Values).Where(a => judges(a.First)))
            {
                judged[id] = area - threshold;
            }

            return threshold;
        }
    }
}
