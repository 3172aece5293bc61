using Influence.Display;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

public sealed partial record InfluenceEnsemble
{
    /// <summary>
    /// Scores of several members with what they disagree about: for each pair the mean, the standard deviation and the share of members
    /// that agree on the sign, <c>[queries, train]</c>, and for each query how far the members' strongest proponents are the same.
    /// </summary>
    /// <remarks>
    /// One example's influence is often smaller than what another initialisation or batch order changes (Nguyen et al., NeurIPS 2023), so a
    /// single score is one draw of a random variable. For members that were trained apart the mean's interval is <c>mean +- t(M - 1) s /
    /// sqrt(M)</c>, with Student's t: it takes the members' scores of a pair for normal and independent. For fits of one model with other
    /// labels the interval is that of estimating the curvature. Owns its tensors: dispose it.
    /// </remarks>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisposable, IDisplay
    {
        private readonly Tensor _deviations;
        private readonly Tensor _agreements;

        private Result(
            InfluenceScores mean,
            Tensor deviations,
            Tensor agreements,
            InfluenceEnsemble.Kind members,
            int count,
            int topK,
            double[] overlaps
        ) =>
            (Mean, _deviations, _agreements, Members, MemberCount, TopK, TopOverlaps) = (
                mean,
                deviations,
                agreements,
                members,
                count,
                topK,
                overlaps
            );

        /// <summary>The mean over members, float64; it belongs to this object.</summary>
        public InfluenceScores Mean { get; }

        /// <summary>What the members are to each other.</summary>
        public InfluenceEnsemble.Kind Members { get; }

        /// <summary>The number of members, M.</summary>
        public int MemberCount { get; }

        /// <summary>The spread: the standard deviation over members, with M - 1, <c>[Q, N]</c> in float64 on the CPU. It belongs to this
        /// object.</summary>
        /// <exception cref="ObjectDisposedException">The scores were disposed.</exception>
        public Tensor StandardDeviations => Live(_deviations);

        /// <summary>The share of members whose score has the sign that most have, zeros counting for neither, <c>[Q, N]</c> in float64. It
        /// belongs to this object.</summary>
        /// <exception cref="ObjectDisposedException">The scores were disposed.</exception>
        public Tensor SignAgreements => Live(_agreements);

        /// <summary>How many proponents of each query <see cref="TopOverlaps"/> compares.</summary>
        public int TopK { get; }

        /// <summary>
        /// Query by query, the share of one member's <see cref="TopK"/> highest scores that are among another's, mean over all pairs of
        /// members. 1 is the same proponents throughout; members without anything in common have TopK / N.
        /// </summary>
        public IReadOnlyList<double> TopOverlaps { get; }

        /// <summary>Gathers members' scores, of any estimator, one after the other.</summary>
        /// <remarks>
        /// Cost: <c>O(M Q N)</c>; memory 28 bytes a pair beside one member's scores, whatever M. Sums are Welford's, in float64.
        /// </remarks>
        /// <param name="members">
        /// Two members or more, of the same queries and training examples. They stay the caller's; each is read before the next is asked
        /// for, so that a method with <c>yield return</c> may make one at a time and dispose it after its yield.
        /// </param>
        /// <param name="kind">What they are to each other.</param>
        /// <param name="topK">How many proponents of each query are compared; at most N.</param>
        /// <returns>The scores with their spread; the caller disposes them.</returns>
        /// <exception cref="InfluenceException">Fewer than two members, other ids or another unit than the first has, or scores that are no
        /// finite numbers.</exception>
        public static Result Of(IEnumerable<InfluenceScores> members, InfluenceEnsemble.Kind kind, int topK = 10) =>
            Of(members, kind, topK, null);

        /// <summary>The same, with words of its own for the checkpoints.</summary>
        /// <param name="members">As above.</param>
        /// <param name="kind">As above.</param>
        /// <param name="topK">As above.</param>
        /// <param name="described">What the metadata say of the checkpoints; null for what the kind says.</param>
        internal static Result Of(IEnumerable<InfluenceScores> members, InfluenceEnsemble.Kind kind, int topK, string? described)
        {
            ArgumentNullException.ThrowIfNull(members);
            _ = Check.Defined(kind, nameof(kind));
            _ = Check.AtLeastOne(topK, nameof(topK));
            using var gathering = new Gathering(topK);
            foreach (var member in members)
            {
                gathering.Add(member);
            }

            return gathering.Finish(kind, described);
        }

        /// <summary>
        /// The curvature estimation error of a pair: how far the score of one fit lies, by its standard deviation, from that with no end of
        /// labels.
        /// </summary>
        /// <param name="query">The query's row (not id).</param>
        /// <param name="train">The training example's column (not id).</param>
        /// <exception cref="InfluenceException">The members are no fits with other labels, or there is no such row or column.</exception>
        public double CurvatureError(int query, int train)
        {
            if (Members != InfluenceEnsemble.Kind.LabelDraws)
            {
                throw new InfluenceException(
                    "A curvature estimation error is the spread of fits of one model with other labels; these members are "
                        + $"{MembersInWords}. Write new InfluenceEnsemble((task, seed) => Ekfac.Fit(task, train, new() {{ Seed = seed }}))."
                );
            }

            _ = Mean[query, train];
            using var scope = NewDisposeScope();
            return StandardDeviations[query, train].item<double>();
        }

        /// <summary>The standard error of a pair's mean, <c>s / sqrt(M)</c>.</summary>
        /// <param name="query">The query's row (not id).</param>
        /// <param name="train">The training example's column (not id).</param>
        /// <exception cref="InfluenceException">The members are checkpoints of one run, or there is no such row or column.</exception>
        public double StandardError(int query, int train)
        {
            CheckSeparate("standard error");
            _ = Mean[query, train];
            using var scope = NewDisposeScope();
            return StandardDeviations[query, train].item<double>() / Math.Sqrt(MemberCount);
        }

        /// <summary>The interval of a pair's mean, <c>mean +- t(M - 1) s / sqrt(M)</c>; (1, 1.4, 0.9, 1.2, 1.5) have 1.2 +-
        /// 0.3165.</summary>
        /// <param name="query">The query's row (not id).</param>
        /// <param name="train">The training example's column (not id).</param>
        /// <param name="level">How often such an interval holds the mean over all runs, between 0 and 1.</param>
        /// <returns>Its ends.</returns>
        /// <exception cref="InfluenceException">The members are checkpoints of one run, or there is no such row or column.</exception>
        public (double Lower, double Upper) Interval(int query, int train, double level = 0.95)
        {
            CheckSeparate("interval");
            var (mean, half) = (Mean[query, train], Quantile(level) * StandardError(query, train));
            return (mean - half, mean + half);
        }

        /// <summary>The pairs whose interval excludes zero, the largest means first: those that another set of runs should show
        /// again.</summary>
        /// <remarks>
        /// Each pair has a test of its own. Of pairs without any influence the share 1 - level passes too;
        /// <see cref="StablePairs.ExpectedByChance"/> says how many that may be. Cost: one pass over the pairs.
        /// </remarks>
        /// <param name="level">Of the intervals, between 0 and 1.</param>
        /// <param name="k">The most pairs that are listed; null for all.</param>
        /// <returns>The pairs, in plain memory; ties by query, then by training example.</returns>
        /// <exception cref="InfluenceException">The members are checkpoints of one run, or a level or k out of range.</exception>
        public StablePairs StablePairs(double level = 0.95, int? k = null)
        {
            CheckSeparate("interval");
            if (Members == InfluenceEnsemble.Kind.LabelDraws)
            {
                throw new InfluenceException(
                    "Fits of one model with other labels say how well its curvature is estimated, and nothing of which pairs another run "
                        + "would show again. Gather models of separate runs: InfluenceEnsemble with OtherModels."
                );
            }

            _ = Check.AtLeastOne(k, nameof(k));
            var quantile = Quantile(level);
            var (queries, train) = (Mean.QueryIds.Count, Mean.TrainIds.Count);
            var found = new List<(int Query, int Train, double Mean, double Error, double Agreement)>();
            for (var q = 0; q < queries; q++)
            {
                using var scope = NewDisposeScope();
                var (means, deviations, agreements) = (Row(Mean.Values, q), Row(StandardDeviations, q), Row(SignAgreements, q));
                for (var i = 0; i < train; i++)
                {
                    var error = deviations[i] / Math.Sqrt(MemberCount);
                    if (Math.Abs(means[i]) > quantile * error)
                    {
                        found.Add((q, i, means[i], error, agreements[i]));
                    }
                }
            }

            var listed = found
                .OrderByDescending(p => Math.Abs(p.Mean))
                .ThenBy(p => p.Query)
                .ThenBy(p => p.Train)
                .Take(k ?? int.MaxValue)
                .Select(
                    (p, rank) =>
                        new StablePairs.Row(
                            rank + 1,
                            Mean.QueryIds[p.Query],
                            Mean.TrainIds[p.Train],
                            p.Mean,
                            p.Error,
                            p.Mean - (quantile * p.Error),
                            p.Mean + (quantile * p.Error),
                            p.Agreement
                        )
                );
            return new StablePairs([.. listed], level, MemberCount, found.Count, (long)queries * train);
        }

        /// <summary>Frees the tensors.</summary>
        public void Dispose()
        {
            Mean.Dispose();
            _deviations.Dispose();
            _agreements.Dispose();
        }

        /// <summary>A table of each query's spread.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable()
        {
            using var scope = NewDisposeScope();
            var rows = Enumerable
                .Range(0, Math.Min(Table.MaximumRows, Mean.QueryIds.Count))
                .Select(q =>
                    (IReadOnlyList<object>)
                        [
                            Mean.QueryIds[q],
                            Row(Mean.Values, q).Average(Math.Abs),
                            Row(StandardDeviations, q).Average(),
                            Row(SignAgreements, q).Average(),
                            TopOverlaps[q],
                        ]
                );
            return new Table(
                $"{MemberCount} members ({MembersInWords}), means over {Mean.TrainIds.Count:N0} training examples",
                ["query", "|mean|", SpreadInWords(Members), "same sign", $"top {TopK} shared"],
                [.. rows],
                Mean.QueryIds.Count
            );
        }

        private string MembersInWords =>
            Members switch
            {
                InfluenceEnsemble.Kind.OneRun => "checkpoints of one run",
                InfluenceEnsemble.Kind.LabelDraws => "fits with other labels",
                _ => "separate runs",
            };

        private static string SpreadInWords(InfluenceEnsemble.Kind members) =>
            members == InfluenceEnsemble.Kind.LabelDraws ? "curvature estimation error" : "spread";

        private static double[] Row(Tensor values, int row) => values.select(0, row).contiguous().data<double>().ToArray();

        private static Tensor Live(Tensor tensor)
        {
            ObjectDisposedException.ThrowIf(tensor.IsInvalid, typeof(Result));
            return tensor;
        }

        private double Quantile(double level) => StudentT.Quantile((1 + Check.InsideUnit(level, nameof(level))) / 2, MemberCount - 1);

        private void CheckSeparate(string what)
        {
            if (Members == InfluenceEnsemble.Kind.OneRun)
            {
                throw new InfluenceException(
                    $"Checkpoints of one run resemble each other, so their spread gives no {what}. Read StandardDeviations and "
                        + "SignAgreements as a spread, or gather models of separate runs: InfluenceEnsemble with OtherModels, or "
                        + "SeparateRuns = true where the checkpoints are of such runs."
                );
            }
        }

        /// <summary>Running sums over members.</summary>
        private sealed class Gathering(int topK) : IDisposable
        {
            private readonly List<string> _estimators = [];
            private Dictionary<int, int>[] _top = [];
            private Tensor? _mean;
            private Tensor? _squares;
            private Tensor? _positive;
            private Tensor? _negative;
            private IReadOnlyList<long> _queryIds = [];
            private IReadOnlyList<long> _trainIds = [];
            private ScoreMetadata? _metadata;
            private int _count;

            public void Add(InfluenceScores member)
            {
                ArgumentNullException.ThrowIfNull(member);
                using var scope = NewDisposeScope();
                var values = member.Values.to_type(ScalarType.Float64); // [Q, N]
                if (_metadata is null)
                {
                    (_queryIds, _trainIds, _metadata) = (member.QueryIds, member.TrainIds, member.Metadata);
                    _top = [.. _queryIds.Select(_ => new Dictionary<int, int>())];
                    long[] shape = [_queryIds.Count, _trainIds.Count];
                    _mean = zeros(shape, ScalarType.Float64).DetachFromDisposeScope();
                    _squares = zeros(shape, ScalarType.Float64).DetachFromDisposeScope();
                    _positive = zeros(shape, ScalarType.Int16).DetachFromDisposeScope();
                    _negative = zeros(shape, ScalarType.Int16).DetachFromDisposeScope();
                }

                CheckMember(member, values);
                _count++;
                var difference = values - _mean!;
                _mean!.add_(difference / Kept(_count));
                _squares!.add_(difference.mul_(values - _mean));
                _positive!.add_(values.gt(Kept(0)).to_type(ScalarType.Int16));
                _negative!.add_(values.lt(Kept(0)).to_type(ScalarType.Int16));
                _estimators.Add(member.Metadata.Estimator);
                if (member.Metadata.LeaveOneOutFactor != _metadata.LeaveOneOutFactor)
                {
                    _metadata = _metadata with { LeaveOneOutFactor = null };
                }

                for (var q = 0; q < _top.Length; q++)
                {
                    foreach (var column in Top(Row(values, q)))
                    {
                        _top[q][column] = _top[q].GetValueOrDefault(column) + 1;
                    }
                }
            }

            private string ErrorNote =>
                $"the spread of the {_count} members is the curvature estimation error: what other labels change, nothing of other runs";

            public Result Finish(InfluenceEnsemble.Kind kind, string? described)
            {
                if (_count < 2)
                {
                    throw new InfluenceException($"A spread needs at least two members; found {_count}.");
                }

                using var scope = NewDisposeScope();
                var k = Math.Min(topK, _trainIds.Count);
                double[] overlaps = [.. _top.Select(counts => counts.Values.Sum(c => c * (c - 1.0)) / (_count * (_count - 1.0) * k))];
                var deviations = (_squares!.clamp_min(Kept(0)) / Kept(_count - 1)).sqrt().DetachFromDisposeScope();
                var agreements = (maximum(_positive!, _negative!).to_type(ScalarType.Float64) / Kept(_count)).DetachFromDisposeScope();
                var metadata = _metadata! with
                {
                    Estimator = $"mean of {_count} members: {string.Join(", ", _estimators.Distinct())}",
                    Checkpoints =
                        described
                        ?? kind switch
                        {
                            InfluenceEnsemble.Kind.OneRun => "mean over checkpoints of one run",
                            InfluenceEnsemble.Kind.LabelDraws => "mean over fits with other labels",
                            _ => "mean over separate runs",
                        },
                    Notes = kind == InfluenceEnsemble.Kind.LabelDraws ? ScoreMetadata.Joined(_metadata.Notes, ErrorNote) : _metadata.Notes,
                };
                return new Result(
                    new InfluenceScores(_mean!.clone(), _queryIds, _trainIds, metadata),
                    deviations,
                    agreements,
                    kind,
                    _count,
                    k,
                    overlaps
                );
            }

            public void Dispose()
            {
                foreach (var tensor in new[] { _mean, _squares, _positive, _negative })
                {
                    tensor?.Dispose();
                }
            }

            private void CheckMember(InfluenceScores member, Tensor values)
            {
                var problems = new List<string>();
                if (!member.QueryIds.SequenceEqual(_queryIds) || !member.TrainIds.SequenceEqual(_trainIds))
                {
                    problems.Add(
                        $"Every member scores the same queries and training examples in the same order; member {_count + 1} has "
                            + "other ids than the first."
                    );
                }
                else if (!values.isfinite().all().item<bool>())
                {
                    problems.Add($"Member {_count + 1} has scores that are NaN or infinite. Leave those examples, or that member, out.");
                }

                if (member.Metadata.Unit != _metadata!.Unit)
                {
                    problems.Add(
                        $"Every member's scores have one unit; member {_count + 1} measures \"{member.Metadata.Unit}\", the "
                            + $"first \"{_metadata.Unit}\"."
                    );
                }

                InfluenceException.ThrowIfAny(problems);
            }

            /// <summary>The columns of the highest scores; ties go to the lowest column.</summary>
            private IEnumerable<int> Top(double[] row)
            {
                var k = Math.Min(topK, row.Length);
                var sorted = (double[])row.Clone();
                Array.Sort(sorted);
                var least = sorted[row.Length - k];
                var ties = k - row.Count(v => v > least);
                for (var i = 0; i < row.Length; i++)
                {
                    if (row[i] > least || (row[i].Equals(least) && ties-- > 0))
                    {
                        yield return i;
                    }
                }
            }
        }
    }
}
