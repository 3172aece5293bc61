using Influence.Selection;
using Xunit;

namespace Influence.Tests.Selection.Filters;

/// <summary>CLEAR's filter and correction, by hand.</summary>
public class ConfidenceFilterTests
{
    private static readonly ExampleScores s_confidence = ExampleScores.Of([10, 11, 12, 13, 14], [0.9, 0.2, 0.5, 0.5, 0.1]);

    [Fact]
    public void The_median_halves()
    {
        var outcome = new ConfidenceFilter().Apply(s_confidence);
        Assert.Equal(0.5, outcome.Threshold);
        Assert.Equal([10, 12, 13], outcome.Kept);
        Assert.Equal([11, 14], outcome.Dropped);
        Assert.Empty(outcome.Replaced);
        Assert.Equal(0.35, new ConfidenceFilter().Apply(ExampleScores.Of([1, 2], [0.2, 0.5])).Threshold, 1e-12);
    }

    /// <summary>A candidate replaces where it is surely better, whether the given answer would be kept or dropped.</summary>
    [Fact]
    public void Candidates_replace_where_they_are_surely_better()
    {
        var better = ExampleScores.Of([11, 10, 14, 12], [0.95, 0.81, 0.8, 0.3]);
        var outcome = new ConfidenceFilter { Threshold = 0.3 }.Apply(s_confidence, better);
        Assert.Equal([10, 11], outcome.Replaced);
        Assert.Equal([12, 13], outcome.Kept);
        Assert.Equal([14], outcome.Dropped);
        Assert.Equal("2 kept, 2 replaced, 1 dropped; threshold 0.3", outcome.ToString());
    }

    /// <summary>0.7 (0.8 x 0.6 + 0.2 x 1/2) + 0.3 x 0.75 = 0.631; all right is 1, all wrong 0.</summary>
    [Fact]
    public void Confidence_is_the_weighted_mean()
    {
        Assert.Equal(0.631, ConfidenceFilter.Confidence([(0.9, true), (0.3, false)], [1, 0.5]), 1e-12);
        Assert.Equal(1, ConfidenceFilter.Confidence([(1, true)], [1]), 1e-12);
        Assert.Equal(0, ConfidenceFilter.Confidence([(0, false)], [0]), 1e-12);
    }

    [Fact]
    public void What_is_no_confidence_is_refused()
    {
        Assert.Throws<InfluenceException>(() => new ConfidenceFilter { Threshold = 1.5 });
        Assert.Throws<InfluenceException>(() => new ConfidenceFilter { Preference = double.NaN });
        Assert.Throws<InfluenceException>(() => new ConfidenceFilter().Apply(ExampleScores.Of([1], [1.5])));
        Assert.Throws<InfluenceException>(() => new ConfidenceFilter().Apply(ExampleScores.Of([1], [double.NaN])));
        Assert.Throws<InfluenceException>(() => new ConfidenceFilter().Apply(s_confidence, ExampleScores.Of([99], [0.5])));
        Assert.Throws<InfluenceException>(() => ConfidenceFilter.Confidence([], [1]));
        Assert.Throws<InfluenceException>(() => ConfidenceFilter.Confidence([(2, true)], [1]));
    }
}
