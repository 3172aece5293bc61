using System.Collections;
using Influence.Numerics;

namespace Influence.Mixtures;

public sealed partial class Mixture
{
    /// <summary>
    /// Draws examples by a mixture: first a group by its weight, then the group's next example. Inside a group nothing repeats
    /// until all of it was drawn; then it is shuffled anew. To be given to TorchSharp's <c>DataLoader</c> as its
    /// <c>shuffler</c>, where the examples' ids are their positions in the data set.
    /// </summary>
    /// <remarks>
    /// <para>Every enumeration is the next epoch of one stream: it goes on where the last one ended, so that no example is favoured
    /// by many short epochs. The same seed gives the same stream. A batch drawn after <see cref="Mixture"/> was set follows the
    /// new mixture; shuffled groups go on unchanged.</para>
    /// <para>A data loader enumerates on the thread that asks it for batches, whatever its <c>num_worker</c>: workers only fetch
    /// the examples. Setting the mixture from another thread is safe all the same. The loader's own <c>Count</c> is that of
    /// its data set, not of <see cref="EpochLength"/>.</para>
    /// <para>A loader that draws by it is for training; to score examples, read them through a loader of their own.</para>
    /// <para>Weights are shares of examples. Mixtures from per-token influence are shares of tokens: where examples differ in
    /// length pass <see cref="Mixture.ToExampleShares"/>. Where groups overlap, an example is drawn through each of its groups.</para>
    /// </remarks>
    public sealed class Sampler : IEnumerable<long>, IRunningStream
    {
        /// <summary>As <see cref="EpochLength"/>: enumeration never ends, and the training loop breaks off by itself.</summary>
        public const long Endless = long.MaxValue;

        private readonly Lock _lock = new();
        private readonly ExampleGroups _groups;
        private readonly GroupOrder[] _orders;
        private readonly double[] _credit;
        private readonly long[] _drawn;
        private readonly KeyedRandom _random;
        private readonly long _epochLength;
        private Mixture _mixture;
        private double[] _weights;

        /// <summary>Makes a sampler.</summary>
        /// <param name="groups">Which examples form a group.</param>
        /// <param name="mixture">Their weights.</param>
        /// <param name="seed">Decides every draw.</param>
        /// <exception cref="InfluenceException">The mixture is of other groups.</exception>
        public Sampler(ExampleGroups groups, Mixture mixture, long seed = 0)
        {
            ArgumentNullException.ThrowIfNull(groups);
            ArgumentNullException.ThrowIfNull(mixture);
            (_groups, _mixture, _weights) = (groups, mixture, mixture.WeightsOf(groups.Names, "the sampler's examples"));
            _orders = [.. groups.Names.Select((name, g) => new GroupOrder(groups[name], seed, g))];
            (_credit, _drawn) = (new double[_orders.Length], new long[_orders.Length]);
            _random = new(seed, "group draw");
            EpochLength = groups.Names.Sum(name => (long)groups[name].Count);
        }

        /// <summary>How many examples one enumeration yields.</summary>
        /// <value>The number of all groups' members unless given; <see cref="Endless"/> never ends.</value>
        /// <exception cref="InfluenceException">Not more than 0.</exception>
        public long EpochLength
        {
            get => _epochLength;
            init =>
                _epochLength =
                    value > 0 ? value : throw new InfluenceException($"An epoch has at least one example; EpochLength is {value}.");
        }

        /// <summary>
        /// Whether groups take turns so that after every draw each group's count is as near to its share as can be, rather than
        /// being drawn independently: less noise in what a short run has seen.
        /// </summary>
        /// <value>false.</value>
        public bool Balanced { get; init; }

        /// <summary>The weights; a new mixture holds from the next draw on.</summary>
        /// <exception cref="InfluenceException">The mixture is of other groups.</exception>
        public Mixture Mixture
        {
            get
            {
                lock (_lock)
                {
                    return _mixture;
                }
            }
            set
            {
                ArgumentNullException.ThrowIfNull(value);
                var weights = value.WeightsOf(_groups.Names, "the sampler's examples");
                lock (_lock)
                {
                    (_mixture, _weights) = (value, weights);
                }
            }
        }

        /// <summary>How many examples were drawn from each group so far.</summary>
        public IReadOnlyDictionary<string, long> Drawn
        {
            get
            {
                lock (_lock)
                {
                    return _groups.Names.Select((name, g) => (name, g)).ToDictionary(pair => pair.name, pair => _drawn[pair.g]);
                }
            }
        }

        /// <summary>The next epoch.</summary>
        /// <returns>Ids.</returns>
        public IEnumerator<long> GetEnumerator()
        {
            for (var i = 0L; i < EpochLength; i++)
            {
                yield return Next();
            }
        }

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

        string IRunningStream.Description => $"{nameof(Mixture)}.{nameof(Sampler)}";

        private long Next()
        {
            lock (_lock)
            {
                var group = Balanced ? InTurn() : AtRandom();
                _drawn[group]++;
                return _orders[group].Next();
            }
        }

        private int AtRandom()
        {
            // The last group with a weight takes what rounding leaves over.
            var (u, last) = (_random.NextDouble() * _weights.Sum(), 0);
            for (var g = 0; g < _weights.Length; g++)
            {
                if (_weights[g] > 0)
                {
                    last = g;
                    u -= _weights[g];
                    if (u < 0)
                    {
                        break;
                    }
                }
            }

            return last;
        }

        private int InTurn()
        {
            var chosen = -1;
            for (var g = 0; g < _credit.Length; g++)
            {
                _credit[g] += _weights[g];
                if (_weights[g] > 0 && (chosen < 0 || _credit[g] > _credit[chosen]))
                {
                    chosen = g;
                }
            }

            _credit[chosen]--;
            return chosen;
        }

        /// <summary>A group's examples, shuffled anew each time that it is used up.</summary>
        private sealed class GroupOrder(IReadOnlyList<long> ids, long seed, int group)
        {
            private int[] _order = [];
            private int _next;
            private int _rounds;

            public long Next()
            {
                if (_next == _order.Length)
                {
                    _order = new KeyedRandom(seed, "group order", ((long)group << 32) | (uint)_rounds++).Order(ids.Count);
                    _next = 0;
                }

                return ids[_order[_next++]];
            }
        }
    }
}
