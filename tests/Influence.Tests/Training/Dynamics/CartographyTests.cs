using System.Globalization;
using System.Xml.Linq;
using Influence.Tests.Oracles;
using Influence.Training;
using Xunit;

namespace Influence.Tests.Training;

public sealed class CartographyTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly TrainingDynamics _dynamics = new();

    public CartographyTests()
    {
        // 0..3 easy, 4..6 swinging, 7..9 hard.
        for (var id = 0; id < 10; id++)
        {
            double[] p =
                id < 4 ? [0.9 + (id * 0.01), 0.92 + (id * 0.01)]
                : id < 7 ? [0.1 + (id * 0.01), 0.9]
                : [0.1 - (id * 0.01), 0.12 - (id * 0.01)];
            Traces.Probabilities(_dynamics, id, p);
        }
    }

    public void Dispose()
    {
        _dynamics.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void RegionsAreAThirdOfTheExamplesEach()
    {
        var map = _dynamics.Cartography();
        Assert.Equal([3, 2, 1], map.Region(Cartography.Kind.EasyToLearn).Ids);
        Assert.Equal([4, 5, 6], map.Region(Cartography.Kind.Ambiguous).Ids);
        Assert.Equal([9, 8, 7], map.Region(Cartography.Kind.HardToLearn).Ids);
        Assert.Equal([9, 8, 7, 4, 5], map.Region(Cartography.Kind.HardToLearn, 0.5).Ids);
        Assert.Equal([9], map.Region(Cartography.Kind.HardToLearn, 0.01).Ids);
        Assert.Equal(10, map.Region(Cartography.Kind.Ambiguous, 1).Count);
        Assert.Equal([9, 8], map.Hardest(2).Ids);
        Assert.Equal([4], map.MostAmbiguous(1).Ids);
        Assert.Throws<InfluenceException>(() => map.Region(Cartography.Kind.Ambiguous, 0));
        Assert.Throws<InfluenceException>(() => map.Hardest(-1));
        Assert.Contains("hard to learn", map.ToString(), StringComparison.Ordinal);
    }

    /// <summary>The map is of the run as it was then.</summary>
    [Fact]
    public void LaterStepsDoNotChangeAMap()
    {
        var map = _dynamics.Cartography();
        var (before, text) = (map.Confidence.Metadata, map.ToString());
        Traces.Probabilities(_dynamics, 99, 0.5, 0.5, 0.5);
        Assert.Equal(before, map.Confidence.Metadata);
        Assert.Equal(text, map.ToString());
        Assert.Contains("20 training steps", before.Checkpoints, StringComparison.Ordinal);
        Assert.Equal("Confidence, presentations 0..^0", before.Estimator);
    }

    [Fact]
    public void EquallyConfidentOnesGoByVariability()
    {
        using var dynamics = new TrainingDynamics();
        Traces.Probabilities(dynamics, 1, 0.25, 0.75);
        Traces.Probabilities(dynamics, 2, 0.5, 0.5);
        Assert.Equal([2, 1], dynamics.Cartography().Region(Cartography.Kind.EasyToLearn, 1).Ids);
    }

    [Fact]
    public void ATableOfTheHardest()
    {
        var text = _dynamics.Cartography().Hardest(2).Describe(id => $"text {id}").ToString();
        Assert.StartsWith("Hard to learn, lowest confidence first: 2 examples", text, StringComparison.Ordinal);
        Assert.Contains("0/2      text 9", text, StringComparison.Ordinal);
    }

    [Fact]
    public void ThePictureHasAPointForEachExampleWhereItBelongs()
    {
        var picture = new DataMap { Title = "Cats & <dogs>" }.Draw(_dynamics.Cartography());
        var svg = XDocument.Parse(picture.ToString());
        var points = svg.Descendants().Where(e => e.Name.LocalName == "circle" && (string?)e.Attribute("r") == "2.5").ToList();
        Assert.Equal(10, points.Count);

        // Example 3 has confidence 0.94 and variability 0.01; the plot is 520 x 400 at (70, 50), to one decimal.
        Assert.Contains(points, p => Near(p, "cx", 70 + (520 * 0.01 / 0.5)) && Near(p, "cy", 50 + (400 * 0.06)));
        var texts = svg.Descendants().Where(e => e.Name.LocalName == "text").Select(e => e.Value).ToList();
        Assert.Contains("Cats & <dogs>", texts);
        Assert.Contains("10 examples", texts);
        Assert.Contains("none (3)", texts);
        Assert.Contains("all (4)", texts);
        Assert.Contains("50% to 75% (3)", texts);
        picture.Save(_folder.Path("map.svg"));
        Assert.Equal(picture.ToString(), File.ReadAllText(_folder.Path("map.svg")));
        Assert.Throws<InfluenceException>(() => picture.Save(_folder.Path("map.png")));
    }

    [Fact]
    public void OfManyExamplesASeededSampleIsDrawn()
    {
        var map = _dynamics.Cartography();
        var draw = new DataMap { MaximumPoints = 4, Seed = 7 };
        var text = draw.Draw(map).ToString();
        Assert.Equal(text, draw.Draw(map).ToString());
        Assert.Equal(4, XDocument.Parse(text).Descendants().Count(e => (string?)e.Attribute("r") == "2.5"));
        Assert.Contains("4 of 10 examples, a random sample (seed 7)", text, StringComparison.Ordinal);
        Assert.Contains(Enumerable.Range(8, 5), seed => (draw with { Seed = seed }).Draw(map).ToString() != text);
    }

    /// <summary>Decimal points whatever the culture: SVG knows no comma.</summary>
    [Fact]
    public void ThePictureIsTheSameInEveryCulture()
    {
        var map = _dynamics.Cartography();
        var expected = new DataMap().Draw(map).ToString();
        var before = CultureInfo.CurrentCulture;
        var comma = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        comma.NumberFormat.NumberDecimalSeparator = ",";
        try
        {
            CultureInfo.CurrentCulture = comma;
            Assert.Equal("0,5", $"{0.5}");
            Assert.Equal(expected, new DataMap().Draw(map).ToString());
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    private static bool Near(XElement point, string name, double value) =>
        Math.Abs(double.Parse(point.Attribute(name)!.Value, CultureInfo.InvariantCulture) - value) <= 0.051;
}
