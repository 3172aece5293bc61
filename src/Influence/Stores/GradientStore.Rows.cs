using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>The rows themselves, for an index or a program of one's own.</summary>
public sealed partial class GradientStore
{
    /// <summary>
    /// Reads all rows, shard after shard: what a search index of another library is built from. Rows over their norms, <c>p(z) /
    /// |p(z)|</c>, make cosines of inner products; a query's opponents are the neighbours of its negative.
    /// </summary>
    /// <param name="read">Takes the ids of some examples and their rows <c>[n, K]</c>, float32 or float64, which live until it
    /// returns.</param>
    /// <param name="cancellationToken">Checked between shards.</param>
    /// <exception cref="InfluenceException">A damaged shard, which is named.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public void ReadRows(Action<IReadOnlyList<long>, Tensor> read, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(read);
        using var scope = NewDisposeScope();
        Read(
            (first, rows, _) =>
            {
                using var shard = NewDisposeScope();
                read([.. Enumerable.Range(first, (int)rows.shape[0]).Select(i => Ids[i])], rows);
            },
            cancellationToken
        );
    }

    /// <summary>The queries' projected gradients, to be compared with the store's rows: one forward and backward pass over them.</summary>
    /// <param name="task">The model, with the weights that the store was written with. It is left as it was found.</param>
    /// <param name="queries">Q queries; their measurement is differentiated.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns><c>[Q, K]</c>, float32 or float64; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, or other weights or layers than the store's.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Tensor ProjectQueries(InfluenceTask task, Examples queries, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(queries);
        InfluenceException.ThrowIfAny([.. queries.Problems("queries")]);
        using var scope = NewDisposeScope();
        return Project(task, queries, MemoryBudget.Default, cancellationToken).Rows.DetachFromDisposeScope();
    }
}
