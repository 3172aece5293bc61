using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Looks for products that are no numbers, and names the examples behind them.</summary>
internal static class FiniteProducts
{
    /// <summary>
    /// A finite sum has finite terms, and takes one pass that writes nothing. A sum that is not may be of large numbers: then zero times
    /// each tells, which is zero unless the number is NaN or infinite.
    /// </summary>
    public static bool AnyNotFinite(Tensor values)
    {
        using var scope = NewDisposeScope();
        return !double.IsFinite(values.sum().to_type(ScalarType.Float64).item<double>())
            && !(values * Kept(0)).sum().eq(Kept(0)).item<bool>();
    }

    /// <summary>
    /// Names the culprits: examples with no finite product at all, on either side; failing that, the pairs whose product
    /// is too large.
    /// </summary>
    public static void ThrowNotFinite(Tensor products, IReadOnlyList<long> trainIds, IReadOnlyList<long> queryIds)
    {
        var bad = products.isfinite().logical_not(); // [Q, B]
        var train = Where(bad.all(0), trainIds);
        var queries = queryIds.Count == 0 ? [] : Where(bad.all(1), queryIds);
        var found =
            train.Count > 0 || queries.Count > 0
                ? string.Join(" and ", new[] { Named("training examples", train), Named("queries", queries) }.OfType<string>())
                : $"{Named("training examples", Where(bad.any(0), trainIds))} times those of "
                    + $"{Named("queries", Where(bad.any(1), queryIds))}";
        throw new InfluenceException(
            $"The gradients of {found} are NaN or too large for {products.dtype}, though the losses are finite. "
                + "Look at their inputs, leave them out, or use a float64 model."
        )
        {
            ExampleIds = [.. train.Count > 0 || queries.Count > 0 ? train.Concat(queries) : Where(bad.any(0), trainIds)],
        };

        static List<long> Where(Tensor flags, IReadOnlyList<long> ids)
        {
            var values = flags.to_type(ScalarType.Int64).cpu().data<long>().ToArray();
            return [.. ids.Where((_, i) => values[i] != 0)];
        }

        static string? Named(string role, List<long> ids) => ids.Count == 0 ? null : $"the {role} with ids {InfluenceException.List(ids)}";
    }
}
