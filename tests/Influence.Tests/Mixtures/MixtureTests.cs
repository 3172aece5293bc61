using System.Text;
using Influence.Groups;
using Influence.Mixtures;
using Influence.Tests.Oracles;
using Xunit;

namespace Influence.Tests.Mixtures;

public class MixtureTests
{
    [Fact]
    public void ItHoldsWeightsByName()
    {
        Assert.Equal(0.25, new Mixture(["a", "b"], [0.25, 0.75]).ByName["a"]);
        var mixture = new Mixture(["en", "de"], [0.25, 0.75]);

        Assert.Equal(0.75, mixture["de"]);
        Assert.Equal(["en", "de"], mixture.Names);
        Assert.Equal(-((0.25 * Math.Log(0.25)) + (0.75 * Math.Log(0.75))), mixture.Entropy, 1e-15);
        Assert.Equal(0.5, mixture.Distance(new(["de", "en"], [0.25, 0.75])), 1e-15);
        Assert.Contains("de       0.75", mixture.ToString(), StringComparison.Ordinal);
        Assert.Contains("\"fr\"", Assert.Throws<InfluenceException>(() => mixture["fr"]).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void UniformAndNaturalProportions()
    {
        Assert.Equal([0.5, 0.5], Mixture.Uniform("a", "b").Weights);
        Assert.Equal([0.75, 0.25], Mixture.Proportional(ExampleGroups.FromMembers(("a", [0, 1, 2]), ("b", [3]))).Weights);
        Assert.Equal([0.2, 0.8], Mixture.Proportional([new GroupScores.Row("a", 5, 20), new GroupScores.Row("b", 5, 80)]).Weights);
        Assert.Equal([0.25, 0.75], Mixture.Normalized(["a", "b"], [2, 6]).Weights);
    }

    /// <summary>Half the tokens from a group whose examples are three times as long takes a quarter of the examples.</summary>
    [Fact]
    public void TokenSharesBecomeExampleShares() =>
        Assert.Equal(
            [0.25, 0.75],
            Mixture
                .Uniform("long", "short")
                .ToExampleShares([new GroupScores.Row("long", 10, 30), new GroupScores.Row("short", 40, 40)])
                .Weights
        );

    [Fact]
    public void ExampleSharesBecomeTokenShares()
    {
        GroupScores.Row[] sizes = [new("long", 10, 30), new("short", 40, 40)];

        Assert.Equal(
            [0.5, 0.5],
            new Mixture(["long", "short"], [0.25, 0.75]).ToTokenShares(sizes).Weights,
            (a, b) => Math.Abs(a - b) < 1e-15
        );
        Assert.Contains(
            "lacks",
            Assert.Throws<InfluenceException>(() => Mixture.Uniform("x").ToTokenShares(sizes)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void GroupsWithoutAListAreRefused() =>
        Assert.Contains(
            "\"a\" has null",
            Assert.Throws<InfluenceException>(() => ExampleGroups.FromMembers(("a", null!))).Message,
            StringComparison.Ordinal
        );

    [Fact]
    public void ASavedMixtureComesBackExactly()
    {
        using var folder = new TempFolder();
        var mixture = Mixture.Normalized(["en", "kjv \"bible\"", "русский"], [1.0 / 3, 1e-12, Math.PI]);
        mixture.Save(folder.Path("mixture.json"));
        var loaded = Mixture.Load(folder.Path("mixture.json"));

        Assert.Equal(mixture.Names, loaded.Names);
        Assert.Equal(mixture.Weights, loaded.Weights);
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("[1]")]
    [InlineData("{\"format\":\"other\",\"version\":1,\"weights\":{\"a\":1}}")]
    [InlineData("{\"format\":\"influence.mixture\",\"version\":1}")]
    [InlineData("{\"format\":\"influence.mixture\",\"version\":1,\"weights\":{\"a\":\"1\"}}")]
    public void AFileThatIsNoMixtureIsRefused(string content)
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.Path("m.json"), content, Encoding.UTF8);

        Assert.Contains(
            "m.json",
            Assert.Throws<InfluenceException>(() => Mixture.Load(folder.Path("m.json"))).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => Mixture.Load(folder.Path("none.json")));
    }

    [Theory]
    [InlineData(double.NaN, 0.5, "\"a\" is NaN")]
    [InlineData(double.PositiveInfinity, 0.5, "\"a\" is Infinity")]
    [InlineData(-0.5, 1.5, "\"a\" is -0.5")]
    [InlineData(0.5, 0.6, "sum to 1.1")]
    public void BadWeightsAreRefused(double a, double b, string part)
    {
        Assert.Contains(part, Assert.Throws<InfluenceException>(() => new Mixture(["a", "b"], [a, b])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void BadNamesAndSumsAreRefused()
    {
        Assert.Throws<InfluenceException>(() => new Mixture(["a", "a"], [0.5, 0.5]));
        Assert.Throws<InfluenceException>(() => new Mixture(["a", " "], [0.5, 0.5]));
        Assert.Throws<InfluenceException>(() => new Mixture(["a"], [0.5, 0.5]));
        Assert.Throws<InfluenceException>(() => new Mixture([], []));
        Assert.Throws<InfluenceException>(() => Mixture.Uniform());
        Assert.Contains(
            "NaN",
            Assert.Throws<InfluenceException>(() => Mixture.Normalized(["a", "b"], [double.NaN, 1])).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "-1",
            Assert.Throws<InfluenceException>(() => Mixture.Normalized(["a", "b"], [-1, 3])).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "\"b\" is -1",
            Assert.Throws<InfluenceException>(() => Mixture.Normalized(["a", "b"], [1, -1])).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "all 0",
            Assert.Throws<InfluenceException>(() => Mixture.Normalized(["a", "b"], [0, 0])).Message,
            StringComparison.Ordinal
        );
    }
}
