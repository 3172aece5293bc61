using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>Whether features are given for the candidates of a pool, and in which order.</summary>
internal static class FeatureRows
{
    /// <summary>Refuses anything but <c>[candidates, d]</c> in float32 or float64.</summary>
    public static void Check(Tensor features, int candidates)
    {
        if (features.dim() != 2 || features.shape[0] != candidates || features.shape[1] == 0)
        {
            throw new InfluenceException($"Features are [candidates, d] = [{candidates}, d]; found [{string.Join(", ", features.shape)}].");
        }

        if (features.dtype is not (ScalarType.Float32 or ScalarType.Float64))
        {
            throw new InfluenceException(
                $"Features are float32 or float64; found {features.dtype}. Write features.to_type(ScalarType.Float32)."
            );
        }
    }

    /// <summary>The row of each candidate. Symmetric: a candidate without features is as wrong as features of no candidate.</summary>
    /// <param name="candidates">Ascending, none twice.</param>
    /// <param name="ids">Of the rows.</param>
    /// <returns>Null where the rows are in the candidates' order.</returns>
    public static int[]? Order(long[] candidates, IReadOnlyList<long> ids)
    {
        if (ids.SequenceEqual(candidates))
        {
            return null;
        }

        var repeated = ids.GroupBy(id => id).Where(same => same.Skip(1).Any()).Select(same => same.Key).Order().ToList();
        if (repeated.Count > 0)
        {
            throw new InfluenceException(
                $"The features have ids that repeat: {InfluenceException.List(repeated)}. One row for each candidate is expected."
            )
            {
                ExampleIds = repeated,
            };
        }

        List<long> without = [.. candidates.Except(ids)],
            unknown = [.. ids.Except(candidates).Order()];
        if (without.Count + unknown.Count > 0)
        {
            List<string> sides = [];
            if (without.Count > 0)
            {
                sides.Add($"these candidates have no features: {InfluenceException.List(without)}");
            }

            if (unknown.Count > 0)
            {
                sides.Add($"these ids have features, but are no candidates: {InfluenceException.List(unknown)}");
            }

            throw new InfluenceException($"Features and candidates have the same ids, in any order; {string.Join("; ", sides)}.")
            {
                ExampleIds = [.. without, .. unknown],
            };
        }

        var order = Enumerable.Range(0, ids.Count).ToArray();
        Array.Sort([.. ids], order);
        return order;
    }
}
