using Influence.Groups;

namespace Influence.Tests.Mixtures;

/// <summary>Group scores from plain numbers: per-token means of groups named a, b, ... on targets t0, t1, ...</summary>
internal static class GroupScoresOf
{
    public static GroupScores Means(double[,] perToken, double[]? tokens = null) =>
        Named(
            perToken,
            [.. Enumerable.Range(0, perToken.GetLength(0)).Select(i => $"t{i}")],
            [.. Enumerable.Range(0, perToken.GetLength(1)).Select(j => ((char)('a' + j)).ToString())],
            tokens
        );

    public static GroupScores Named(double[,] perToken, string[] targets, string[] groups, double[]? tokens = null)
    {
        tokens ??= [.. groups.Select(_ => 1.0)];
        var sums = new double[targets.Length, groups.Length];
        for (var i = 0; i < targets.Length; i++)
        {
            for (var j = 0; j < groups.Length; j++)
            {
                sums[i, j] = perToken[i, j] * tokens[j];
            }
        }

        return new(
            sums,
            targets,
            [.. groups.Select((name, j) => new GroupScores.Row(name, 1, tokens[j]))],
            new ScoreMetadata { Estimator = "test", Unit = "loss per token" }
        );
    }

    public static double[,] Random(Random random, int targets, int groups)
    {
        var values = new double[targets, groups];
        for (var i = 0; i < targets; i++)
        {
            for (var j = 0; j < groups; j++)
            {
                values[i, j] = (random.NextDouble() * 2) - 0.7;
            }
        }

        return values;
    }
}
