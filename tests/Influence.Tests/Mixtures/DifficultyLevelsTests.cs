using Influence.Groups;
using Influence.Mixtures;
using Xunit;

namespace Influence.Tests.Mixtures;

/// <summary>Levels by bounds, and what becomes of their shares.</summary>
public class DifficultyLevelsTests
{
    private static readonly long[] s_ids = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

    // math: four easy ones and two hard ones; code: one easy one and three hard ones.
    private static readonly ExampleScores s_difficulty = ExampleScores.Of(s_ids, [1, 1, 2, 2, 3, 5, 1, 3, 4, 5]);
    private static readonly ExampleGroups s_domains = ExampleGroups.Of(s_ids, id => id <= 6 ? "math" : "code");

    [Fact]
    public void AnExampleAtABoundIsOfTheHarderLevel()
    {
        var levels = DifficultyLevels.Of(s_difficulty, [3], s_domains);
        Assert.Equal(["math, level 1", "math, level 2", "code, level 1", "code, level 2"], levels.Groups.Names);
        Assert.Equal([1, 2, 3, 4], levels.Groups["math, level 1"]);
        Assert.Equal([8, 9, 10], levels.Groups["code, level 2"]);
        Assert.Equal([0.4, 0.2, 0.1, 0.3], levels.Natural.Weights);
        Assert.Equal(
            ["level 1", "level 2", "level 4"],
            DifficultyLevels.Of(s_difficulty, [2, 4, 4.5], null).Groups.Names.Except(["level 3"])
        );
    }

    [Fact]
    public void AFlipTurnsTheSharesOfADomainAndLeavesItsSum()
    {
        var levels = DifficultyLevels.Of(s_difficulty, [3], s_domains);
        Assert.Equal([0.2, 0.4, 0.3, 0.1], levels.Flip().Weights, Near);
        Assert.Equal([0.2, 0.4, 0.1, 0.3], levels.Flip("math").Weights, Near);

        // Of three levels the middle one keeps its share; math has none of the third.
        var three = DifficultyLevels.Of(s_difficulty, [2, 6], s_domains);
        Assert.Equal(["math, level 1", "math, level 2", "code, level 1", "code, level 2"], three.Groups.Names);
        Assert.Contains("\"law\"", Assert.Throws<InfluenceException>(() => levels.Flip("law")).Message, StringComparison.Ordinal);
    }

    /// <summary>Hard mathematics and easy code help the second query most: the rarer level of both; of the first, hard code does.</summary>
    [Fact]
    public void TheLevelThatHelpsMostIsReadMost()
    {
        var levels = DifficultyLevels.Of(s_difficulty, [3], s_domains);

        // Sums; a mean is what counts: 4 over 4 examples against 3 over 2.
        var scores = new GroupScores(
            new double[,]
            {
                { 3, 4, 3, 0.5 },
                { 5, 6, -1, 2 },
            },
            ["first", "second"],
            [
                new GroupScores.Row("math, level 2", 2, 2),
                new GroupScores.Row("math, level 1", 4, 4),
                new GroupScores.Row("code, level 2", 3, 3),
                new GroupScores.Row("code, level 1", 1, 1),
            ],
            new ScoreMetadata
            {
                Estimator = "test",
                Sign = "positive helps",
                Unit = "none",
            }
        );
        Assert.Equal([0.2, 0.4, 0.1, 0.3], levels.ByInfluence(scores, 0).Weights, Near);
        Assert.Equal([0.2, 0.4, 0.3, 0.1], levels.ByInfluence(scores, 1).Weights, Near);
        Assert.Contains(
            "no row 2",
            Assert.Throws<InfluenceException>(() => levels.ByInfluence(scores, 2)).Message,
            StringComparison.Ordinal
        );
        var others = DifficultyLevels.Of(s_difficulty, [3]);
        Assert.Contains("level 1", Assert.Throws<InfluenceException>(() => others.ByInfluence(scores)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WeightsAreOneOnTheAverage()
    {
        var levels = DifficultyLevels.Of(s_difficulty, [3], s_domains);
        var weights = levels.Weights(levels.Flip());
        Assert.Equal(s_ids, weights.Ids);
        Assert.Equal([0.5, 0.5, 0.5, 0.5, 2, 2, 3, 1.0 / 3, 1.0 / 3, 1.0 / 3], weights.Values, Near);
        Assert.Equal(1, weights.Values.Average(), 12);
        Assert.All(levels.Weights(levels.Natural).Values, w => Assert.Equal(1, w, 12));
    }

    [Fact]
    public void BadInputIsNamed()
    {
        Assert.Contains("rise", Message([]), StringComparison.Ordinal);
        Assert.Contains("rise", Message([3, 3]), StringComparison.Ordinal);
        var without = ExampleGroups.FromMembers(("math", [1, 2]), ("code", [2, 3]));
        var error = Assert.Throws<InfluenceException>(() => DifficultyLevels.Of(s_difficulty, [3], without));
        Assert.Contains("one domain", error.Message, StringComparison.Ordinal);
        error = Assert.Throws<InfluenceException>(() => DifficultyLevels.Of(ExampleScores.Of([4], [double.NaN]), [3]));
        Assert.Contains("ids 4", error.Message, StringComparison.Ordinal);

        static string Message(double[] bounds) =>
            Assert.Throws<InfluenceException>(() => DifficultyLevels.Of(s_difficulty, bounds)).Message;
    }

    private static bool Near(double expected, double found) => Math.Abs(expected - found) < 1e-12;
}
