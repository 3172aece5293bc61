namespace Influence.Evaluation;

public sealed partial record Retraining
{
    /// <summary>One training to do: on which examples, with which seed.</summary>
    /// <param name="Index">The run's number, from 0: subset times the number of seeds, plus the seed's position.</param>
    /// <param name="Subset">The subset; <see cref="TrainingSubset.Ids"/> are the examples to train on.</param>
    /// <param name="Seed">Of everything that is random in the training: weights at the start, order of the batches, dropout.</param>
    /// <param name="CancellationToken">Ask it now and then in a long training.</param>
    public sealed record Job(int Index, TrainingSubset Subset, long Seed, CancellationToken CancellationToken)
    {
        /// <summary>The ids of the examples to train on; listed anew at each read.</summary>
        public IReadOnlyList<long> Ids => Subset.Ids;
    }
}
