using Influence.Gradients;
using Influence.Numerics;
using static TorchSharp.torch;

namespace Influence.Recipes;

public sealed partial record Mates
{
    /// <summary>
    /// Measures data influence anew every so many steps of a training loop: what helps changes as the model learns. One line in the loop:
    /// <c>if (run.Step()) { chosen = strategy.Select(run.Latest.Scores, budget); }</c>
    /// </summary>
    /// <remarks>
    /// <c>measure</c> runs inside <see cref="Step"/>, on its thread, with the model in evaluation mode; each of its modules then has the
    /// mode again that it had, also when measuring fails. It is given the number of steps; take it for the seed, so that each time others
    /// are probed:
    /// <code>new Mates.Run(model, 1000, step => new Mates(features) { Seed = step }.Score(task, pool, reference, optimizer))</code>
    /// Reference: Yu, Das, Xiong, "MATES", NeurIPS 2024, algorithm 1.
    /// </remarks>
    public sealed class Run
    {
        private readonly nn.Module _model;
        private readonly Func<long, Mates.Result> _measure;
        private readonly EverySteps _steps;
        private readonly List<Row> _history = [];
        private Mates.Result? _latest;

        /// <summary>Makes the helper; nothing is measured yet.</summary>
        /// <param name="model">The model that is trained and measured.</param>
        /// <param name="everySteps">Steps between two measurements.</param>
        /// <param name="measure">Scores the pool at the model's present weights; given the number of steps so far.</param>
        /// <exception cref="InfluenceException"><paramref name="everySteps"/> is not more than 0.</exception>
        public Run(nn.Module model, long everySteps, Func<long, Mates.Result> measure)
        {
            ArgumentNullException.ThrowIfNull(model);
            ArgumentNullException.ThrowIfNull(measure);
            (_model, _steps, _measure) = (model, new EverySteps(everySteps, "Influence is measured anew"), measure);
        }

        /// <summary>Steps between two measurements.</summary>
        public long EverySteps => _steps.Every;

        /// <summary>Steps so far.</summary>
        public long Steps => _steps.Count;

        /// <summary>The newest scores.</summary>
        /// <exception cref="InfluenceException">Nothing was measured yet.</exception>
        public Mates.Result Latest =>
            _latest ?? throw new InfluenceException("Nothing was measured yet: write run.Measure() before the first step.");

        /// <summary>Every measurement so far, the oldest first; of scores only the newest are kept.</summary>
        public IReadOnlyList<Row> History => _history;

        /// <summary>Counts one step of training, and measures when it is time.</summary>
        /// <returns>Whether it measured, so that it is time to select anew.</returns>
        public bool Step()
        {
            if (!_steps.Step())
            {
                return false;
            }

            Measure();
            return true;
        }

        /// <summary>Measures now, for example before the first step.</summary>
        /// <returns>The new scores.</returns>
        /// <exception cref="InfluenceException">The delegate returned null; the scores are then those from before.</exception>
        public Mates.Result Measure()
        {
            using var evaluation = new EvaluationMode(_model);
            var scores =
                _measure(Steps)
                ?? throw new InfluenceException("measure returned null; it returns the Mates.Result of the present weights.");
            _latest = scores;
            _history.Add(new(Steps, scores.Measured.Count, scores.HeldOutCorrelation));
            return scores;
        }

        /// <summary>One measurement.</summary>
        /// <param name="Step">After how many steps.</param>
        /// <param name="Probes">How many examples were probed.</param>
        /// <param name="HeldOutCorrelation">The rank correlation of predicted and measured influence on those that the fit did not
        /// see.</param>
        public sealed record Row(long Step, int Probes, double HeldOutCorrelation);
    }
}
