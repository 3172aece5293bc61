using Influence.Groups;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Groups;

/// <summary>Group scores from per-example scores: sums over members, means over queries.</summary>
internal static class GroupOracle
{
    /// <summary>float64 sums in another order move the 14th digit; gradients by another route (factors or backward) the 12th.</summary>
    public const double Rounding = 1e-10;

    /// <summary>Three uneven groups by turns, so that every batch holds all of them; the last id is in none.</summary>
    public static ExampleGroups Mixed(Examples examples) =>
        ExampleGroups.Of(
            [.. examples.Ids.SkipLast(1)],
            id =>
                (id % 4) switch
                {
                    0 => "a",
                    1 => "b",
                    _ => "c",
                }
        );

    /// <summary>Two groups of queries.</summary>
    public static ExampleGroups Halves(Examples queries) => ExampleGroups.Of(queries.Ids, id => id % 3 == 0 ? "first" : "second");

    public static double[,] Sums(InfluenceScores scores, ExampleGroups groups, ExampleGroups queryGroups)
    {
        var values = scores.Values.to_type(ScalarType.Float64).data<double>().ToArray();
        var sums = new double[queryGroups.Names.Count, groups.Names.Count];
        for (var q = 0; q < queryGroups.Names.Count; q++)
        {
            var rows = queryGroups[queryGroups.Names[q]];
            for (var g = 0; g < groups.Names.Count; g++)
            {
                sums[q, g] = rows.Average(row =>
                    groups[groups.Names[g]]
                        .Sum(id => values[(Position(scores.QueryIds, row) * scores.TrainIds.Count) + Position(scores.TrainIds, id)])
                );
            }
        }

        return sums;
    }

    public static void AssertEqual(double[,] expected, GroupScores actual, double tolerance = Rounding)
    {
        Assert.Equal((expected.GetLength(0), expected.GetLength(1)), (actual.QueryGroups.Count, actual.TrainGroups.Count));
        var scale = expected.Cast<double>().Max(Math.Abs);
        Assert.True(scale > 0, "The scores are all zero.");
        for (var q = 0; q < expected.GetLength(0); q++)
        {
            for (var g = 0; g < expected.GetLength(1); g++)
            {
                Assert.True(
                    Math.Abs(expected[q, g] - actual.Sum(q, g)) <= tolerance * scale,
                    $"{actual.QueryGroups[q]}, {actual.TrainGroups[g].Name}: expected {expected[q, g]:R}, found {actual.Sum(q, g):R}"
                );
            }
        }
    }

    private static int Position(IReadOnlyList<long> ids, long id) => Enumerable.Range(0, ids.Count).First(i => ids[i] == id);
}
