namespace Influence.Estimators;

public sealed partial record Source
{
    /// <summary>A stretch of training over which curvature and gradients are taken as constant: SOURCE's unit.</summary>
    /// <param name="Checkpoints">Checkpoints in it, in order; their curvature and gradients are averaged.</param>
    /// <param name="Steps">How many optimizer steps it lasted, K.</param>
    /// <param name="LearningRate">The mean learning rate over it, eta, of every parameter.</param>
    public sealed record Segment(IReadOnlyList<Checkpoint> Checkpoints, long Steps, double LearningRate)
    {
        /// <summary>A segment at the mean of its checkpoints' learning rates, parameter by parameter where their groups differ.</summary>
        /// <param name="checkpoints">Checkpoints in it, in order.</param>
        /// <param name="steps">How many optimizer steps it lasted, K.</param>
        public Segment(IReadOnlyList<Checkpoint> checkpoints, long steps)
            : this(checkpoints, steps, checkpoints.Select(c => c.LearningRate).DefaultIfEmpty().Average()) => RatesAreRecorded = true;

        /// <summary>Whether the rates are the checkpoints' own, and not one that was given for all parameters.</summary>
        internal bool RatesAreRecorded { get; }

        /// <summary>The mean rate of a parameter over the segment, with SGD's momentum counted in.</summary>
        /// <param name="name">The parameter.</param>
        /// <param name="momentum">Given for all parameters; null: as recorded.</param>
        internal double RateOf(string name, double? momentum) =>
            Checkpoints.Average(c =>
            {
                var recorded = c.Rates.Of(name);
                var rate = RatesAreRecorded ? recorded.LearningRate : LearningRate;
                return momentum is { } given ? rate / (1 - given) : (recorded with { LearningRate = rate }).InTheLongRun;
            });

        /// <summary>The mean weight decay of a parameter over the segment, as recorded.</summary>
        internal double WeightDecayOf(string name) => Checkpoints.Average(c => c.Rates.Of(name).WeightDecay);

        /// <summary>
        /// Splits a run into segments of consecutive checkpoints. A segment lasts from the end of the one before (the first from step
        /// 0) to its last checkpoint, at the mean of its checkpoints' learning rates, parameter by parameter.
        /// </summary>
        /// <param name="checkpoints">As a <c>CheckpointRecorder</c> left them; the last is the end of training.</param>
        /// <param name="count">How many segments; three with two checkpoints each are usual.</param>
        /// <returns>The segments, in order.</returns>
        /// <exception cref="InfluenceException">Fewer checkpoints than segments, or steps that do not ascend.</exception>
        public static IReadOnlyList<Segment> Split(IReadOnlyList<Checkpoint> checkpoints, int count = 3)
        {
            ArgumentNullException.ThrowIfNull(checkpoints);
            if (count < 1 || checkpoints.Count < count)
            {
                throw new InfluenceException(
                    "At least one checkpoint a segment is needed, and at least one segment; found "
                        + $"{checkpoints.Count} checkpoints for {count} segments."
                );
            }

            if (checkpoints[0].Step <= 0 || checkpoints.Zip(checkpoints.Skip(1)).Any(pair => pair.First.Step >= pair.Second.Step))
            {
                throw new InfluenceException(
                    "Checkpoints in the order of their steps, from a step above 0, are expected; found steps "
                        + $"{InfluenceException.List([.. checkpoints.Select(c => c.Step)])}. "
                        + "Write the segments yourself where files do not say their steps: new Source.Segment(checkpoints, steps, "
                        + "learningRate)."
                );
            }

            var segments = new List<Segment>();
            for (var (l, start, step) = (0, 0, 0L); l < count; l++)
            {
                var end = (int)((long)(l + 1) * checkpoints.Count / count);
                Checkpoint[] own = [.. checkpoints.Skip(start).Take(end - start)];
                segments.Add(new Segment(own, own[^1].Step - step));
                (start, step) = (end, own[^1].Step);
            }

            return segments;
        }
    }
}
