using Influence.Scorers;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Scorers;

public class ExpectedRatingTests
{
    [Fact]
    public void TheScoreIsTheExpectationOverTheRatings()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 5);

        // Probabilities 1/2 for a rating of 2 and for one of 5; then one of 6 for sure.
        var likely = Math.Log(1e30);
        var logits = zeros(5, 6, ScalarType.Float64);
        foreach (var i in Enumerable.Range(0, 5))
        {
            logits[i, i == 0 ? 1 : 5] = likely;
            logits[i, i == 0 ? 4 : 5] = likely;
        }

        var train = Examples.FromTensors(("logits", logits)) with { BatchSize = 2 };
        var scores = new ExpectedRating(b => b["logits"]).Score(c.Task(), train);
        Assert.Equal([3.5, 6, 6, 6, 6], scores.Values, (a, b) => Math.Abs(a - b) < 1e-12);
        var own = new ExpectedRating(b => b["logits"].narrow(1, 0, 2)) { Ratings = [0, 1] }.Score(c.Task(), train);
        Assert.Equal(1, own[0], 12);
        Assert.Equal(0.5, own[1], 12);
    }

    [Fact]
    public void BadLogitsAreNamed()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 3);
        var logits = zeros(3, 6);
        logits[1, 2] = float.NaN;
        var train = Examples.FromTensors(("logits", logits));
        Assert.Equal([1], Assert.Throws<InfluenceException>(() => new ExpectedRating(b => b["logits"]).Score(c.Task(), train)).ExampleIds);
        var error = Assert.Throws<InfluenceException>(() => new ExpectedRating(b => b["logits"].narrow(1, 0, 3)).Score(c.Task(), train));
        Assert.Contains("[3, 6]", error.Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new ExpectedRating(b => b["logits"]) { Ratings = [1] });
    }
}
