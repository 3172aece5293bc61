using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Recipes;

/// <summary>Trains epoch by epoch and leaves the weights of the epoch that predicted the held-out part best.</summary>
/// <param name="Rows">The rows to train on.</param>
/// <param name="BatchSize">Rows in a step.</param>
/// <param name="Step">One step of the optimizer on the rows given.</param>
/// <param name="Error">The mean squared error over the held-out part, of the weights as they are.</param>
internal sealed record BestEpoch(long[] Rows, int BatchSize, Action<long[]> Step, Func<double> Error)
{
    /// <summary>Trains; <paramref name="state"/> has the best epoch's values afterwards.</summary>
    /// <param name="state">What the steps change: weights and running statistics.</param>
    /// <param name="epochs">Passes over the rows.</param>
    /// <param name="order">The random numbers of an epoch's order.</param>
    /// <param name="cancellationToken">Looked at before each step.</param>
    /// <returns>The best epoch; 0 is what was there before.</returns>
    public int Train(IReadOnlyList<Tensor> state, int epochs, Func<int, KeyedRandom> order, CancellationToken cancellationToken)
    {
        using var scope = NewDisposeScope();
        Tensor[] best = [.. state.Select(s => s.detach().clone())];
        var (lowest, bestEpoch) = (Error(), 0);
        for (var epoch = 1; epoch <= epochs; epoch++)
        {
            foreach (var rows in order(epoch).Order(Rows.Length).Select(i => Rows[i]).Chunk(BatchSize))
            {
                cancellationToken.ThrowIfCancellationRequested();
                Step(rows);
            }

            if (Error() is var error && error < lowest)
            {
                (lowest, bestEpoch) = (error, epoch);
                Copy(state, best);
            }
        }

        Copy(best, state);
        return bestEpoch;
    }

    private static void Copy(IReadOnlyList<Tensor> from, IReadOnlyList<Tensor> to)
    {
        using var noGrad = no_grad();
        for (var k = 0; k < from.Count; k++)
        {
            to[k].copy_(from[k]);
        }
    }
}
