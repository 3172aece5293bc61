namespace Influence.Estimators;

public sealed partial record Source
{
    /// <summary>A stretch of training over which curvature and gradients are taken as constant: SOURCE's unit.</summary>
    /// <param name="Checkpoints">Checkpoints in it, in order; their curvature and gradients are averaged.</param>
    /// <param name="Steps">How many optimizer steps it lasted, K.</param>
    /// <param name="LearningRate">The mean learning rate over it, eta.</param>
    public sealed record Segment(IReadOnlyList<Checkpoint> Checkpoints, long Steps, double LearningRate)
    {
        /// <summary>
        /// Splits a run into segments of consecutive checkpoints. A segment lasts from the end of the one before (the first from step
        /// 0) to its last checkpoint, at the mean of its checkpoints' learning rates.
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
                throw new InfluenceException($"At least one checkpoint a segment is needed, and at least one segment; found {checkpoints.Count} checkpoints for {count} segments.");
            }

            if (checkpoints[0].Step <= 0 || checkpoints.Zip(checkpoints.Skip(1)).Any(pair => pair.First.Step >= pair.Second.Step))
            {
                throw new InfluenceException(
                    $"Checkpoints in the order of their steps, from a step above 0, are expected; found steps {InfluenceException.List([.. checkpoints.Select(c => c.Step)])}. " +
                    "Write the segments yourself where files do not say their steps: new Source.Segment(checkpoints, steps, learningRate).");
            }

            var segments = new List<Segment>();
            for (var (l, start, step) = (0, 0, 0L); l < count; l++)
            {
                var end = (int)((long)(l + 1) * checkpoints.Count / count);
                Checkpoint[] own = [.. checkpoints.Skip(start).Take(end - start)];
                segments.Add(new Segment(own, own[^1].Step - step, own.Average(c => c.LearningRate)));
                (start, step) = (end, own[^1].Step);
            }

            return segments;
        }
    }
}
