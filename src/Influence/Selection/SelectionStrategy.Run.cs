using System.Diagnostics;
using Influence.Numerics;

namespace Influence.Selection;

public abstract partial record SelectionStrategy
{
    /// <summary>What one call of a strategy runs with: random numbers, progress, cancellation, and notes for the reader.</summary>
    public sealed class Run
    {
        private readonly SelectionStrategy _strategy;
        private readonly SelectionPool _pool;
        private readonly IProgress<InfluenceProgress>? _progress;
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        private readonly List<string> _notes = [];

        internal Run(
            SelectionStrategy strategy,
            SelectionPool pool,
            IProgress<InfluenceProgress>? progress,
            CancellationToken cancellationToken
        )
        {
            (_strategy, _pool, _progress, CancellationToken) = (strategy, pool, progress, cancellationToken);
        }

        /// <summary>The caller's.</summary>
        public CancellationToken CancellationToken { get; }

        internal IReadOnlyList<string> Notes => _notes;

        /// <summary>A number in (0, 1) that follows from the seed, the purpose and the candidate's id alone.</summary>
        /// <param name="purpose">What it is for: numbers for unlike purposes are independent.</param>
        /// <param name="position">The candidate.</param>
        public double Uniform(string purpose, int position) =>
            ((KeyedRandom.Mix(KeyedRandom.Key(_strategy.Seed, purpose) ^ KeyedRandom.Mix((ulong)_pool.Ids[position])) >> 11) + 0.5)
            / (1UL << 53);

        /// <summary>A generator that follows from the seed and the purpose.</summary>
        /// <param name="purpose">What it is for.</param>
        public Random Random(string purpose) => new KeyedRandom(_strategy.Seed, purpose);

        /// <summary>Says how far the strategy has come, and stops it where the caller wishes so.</summary>
        /// <param name="done">Steps done.</param>
        /// <param name="total">Steps in all.</param>
        public void Report(long done, long total)
        {
            CancellationToken.ThrowIfCancellationRequested();
            _progress?.Report(new InfluenceProgress(_strategy.Name, done, total, _clock.Elapsed));
        }

        /// <summary>Keeps a remark for <see cref="SelectedExamples.Notes"/>, for example a constant column that was left out.</summary>
        /// <param name="note">One sentence.</param>
        public void Note(string note) => _notes.Add(note);
    }
}
