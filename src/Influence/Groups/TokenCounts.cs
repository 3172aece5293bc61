using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>How many tokens each example has, as the caller counts them; one where nobody counts.</summary>
internal sealed class TokenCounts
{
    private readonly double[]? _counts;

    private TokenCounts(double[]? counts) => _counts = counts;

    /// <summary>Reads the examples once, without the model.</summary>
    public static TokenCounts Of(Examples examples, Func<ExampleBatch, Tensor>? count, CancellationToken token)
    {
        if (count is null)
        {
            return new TokenCounts(null);
        }

        using var noGrad = no_grad();
        var counts = new List<double>(examples.Count);
        foreach (var batch in examples.Batches())
        {
            token.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var values = count(batch) ?? throw new InfluenceException("Tokens returned null; it returns one count per example, [B].");
            if (values.dim() != 1 || values.shape[0] != batch.Count)
            {
                throw new InfluenceException(
                    $"Tokens returns one count per example, [B] = [{batch.Count}]; found [{string.Join(", ", values.shape)}]. Sum over "
                        + "the positions: b => b[\"mask\"].sum(-1)."
                );
            }

            var numbers = values.cpu().to_type(ScalarType.Float64).data<double>().ToArray();
            var bad = batch.Ids.Where((_, i) => !double.IsFinite(numbers[i]) || numbers[i] < 0).ToArray();
            if (bad.Length > 0)
            {
                throw new InfluenceException(
                    "Tokens is negative or not a number for the examples with ids "
                        + $"{InfluenceException.List(bad)}; a count is expected."
                )
                {
                    ExampleIds = bad,
                };
            }

            counts.AddRange(numbers);
        }

        return new TokenCounts([.. counts]);
    }

    /// <summary>The tokens of the examples at these positions.</summary>
    public double Sum(IEnumerable<int> positions) => _counts is null ? positions.Count() : positions.Sum(p => _counts[p]);
}
