using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Sequences that end with tokens to be copied from before.</summary>
/// <param name="Tokens"><c>[N, T]</c>, int64.</param>
/// <param name="Predicting">The A positions whose next token is copied, the same in every sequence.</param>
/// <param name="Sources"><c>[N, A]</c>, int64: where each copied token stands before.</param>
internal sealed record CopyProbes(Tensor Tokens, long[] Predicting, Tensor Sources) : IDisposable
{
    public int Count => (int)Tokens.shape[0];

    public long Length => Tokens.shape[1];

    /// <summary>
    /// Parts of at most so many sequences, and of fewer than a sequence has tokens: a layer that gets <c>[B, T, ...]</c> can then be told
    /// from one that gets <c>[T, B, ...]</c>. In the current scope.
    /// </summary>
    public IEnumerable<CopyProbes> Parts(int atOnce)
    {
        var size = (int)Math.Min(atOnce, Length - 1);
        for (var start = 0; start < Count; start += size)
        {
            var count = Math.Min(size, Count - start);
            yield return new CopyProbes(Tokens.narrow(0, start, count), Predicting, Sources.narrow(0, start, count));
        }
    }

    /// <summary>The copied tokens, <c>[N, A]</c>.</summary>
    public Tensor Answers() => Tokens.index_select(1, tensor(Predicting.Select(p => p + 1).ToArray(), device: Tokens.device));

    public void Dispose()
    {
        Tokens.Dispose();
        Sources.Dispose();
    }
}
