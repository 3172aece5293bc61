using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Looks for rows with numbers that are none, and names the examples.</summary>
internal static class FiniteRows
{
    /// <summary>Throws where a row of <c>[B, d]</c> has NaN or an infinite number.</summary>
    /// <param name="rows">One row an example.</param>
    /// <param name="ids">The examples' ids.</param>
    /// <param name="what">What the rows are, at the start of a sentence.</param>
    public static void Check(Tensor rows, IReadOnlyList<long> ids, string what)
    {
        using var scope = NewDisposeScope();
        if (rows.isfinite().all().item<bool>())
        {
            return;
        }

        var finite = rows.isfinite().all(1).to_type(ScalarType.Int64).cpu().data<long>().ToArray();
        long[] bad = [.. ids.Where((_, i) => finite[i] == 0)];
        throw new InfluenceException(
            $"{what} are finite numbers; those of the examples with ids {InfluenceException.List(bad)} are not. Look at their inputs, or "
                + "leave them out."
        )
        {
            ExampleIds = bad,
        };
    }
}
