using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Keeps the k highest and the k lowest scores of each query; what is found of them need not be all.</summary>
internal interface IStrongestPairs
{
    /// <summary>k.</summary>
    int K { get; }

    /// <summary>The k-th highest and the k-th lowest score so far; minus and plus infinity where there are fewer.</summary>
    (double Highest, double Lowest) BoundsOf(int query);

    /// <summary>Takes all scores of a block.</summary>
    /// <param name="query">The first query's row.</param>
    /// <param name="train">The first training example's column.</param>
    /// <param name="values"><c>[q, b]</c> on the CPU.</param>
    void Add(int query, int train, Tensor values);

    /// <summary>Takes some scores of a query, in any order.</summary>
    /// <param name="query">The row.</param>
    /// <param name="columns">The training examples.</param>
    /// <param name="scores">Their scores.</param>
    void Offer(int query, ReadOnlySpan<long> columns, ReadOnlySpan<double> scores);

    /// <summary>Says that no other of the next training examples of a query is among its strongest.</summary>
    void Complete(int query, int train, int count);
}
