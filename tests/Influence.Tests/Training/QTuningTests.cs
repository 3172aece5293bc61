using Influence.Mixtures;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

/// <summary>Q-Tuning's plane: the sheet's check, and the paper's bisection written out.</summary>
public class QTuningTests
{
    /// <summary>The sheet: of perplexities (2, 8, 2) the middle token scores 5, as its neighbours do, and 6 as printed: with two tokens of
    /// three kept, the first two of three equals, and as printed the two ends.</summary>
    [Theory]
    [InlineData(false, new[] { true, true, false })]
    [InlineData(true, new[] { true, false, true })]
    public void TokensGoByTheirOwnAndTheirNeighboursPerplexity(bool sums, bool[] expected)
    {
        using var scope = NewDisposeScope();
        var losses = tensor([2.0, 8, 2, 1, 1, 1, 1.5, 1.5, 1.5]).log().reshape(3, 3);
        // The first example is the worst and the surest: a misconception.
        var entropies = tensor([0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 0.9, 0.9, 0.9]).reshape(3, 3);
        using var pruned = new QTuning
        {
            SampleShare = 0.33,
            TokenShare = 0.6,
            SumsNeighbours = sums,
        }.Apply(losses, entropies);
        Assert.Equal(QTuning.Region.Misconception, pruned.Regions[0]);
        Assert.Equal(expected, pruned.Mask[0].data<bool>().ToArray());
        Assert.Equal(2, pruned.Mask.sum().item<long>());
    }

    /// <summary>With distinct values the kept ones are those of the paper's search: the smallest a at which enough lie in the two
    /// corners.</summary>
    [Theory]
    [InlineData(0.1)]
    [InlineData(0.25)]
    [InlineData(0.5)]
    public void KeptExamplesAreThoseOfTheBisection(double share)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(5);
        const int n = 40;
        var (losses, entropies) = (rand([n, 6], float64), rand([n, 6], float64));
        var (e, u) = (losses.mean([1L]).data<double>().ToArray(), entropies.mean([1L]).data<double>().ToArray());
        using var pruned = new QTuning { SampleShare = share, TokenShare = 0.5 }.Apply(losses, entropies);

        double Place(double[] of, int i) => (of.Count(v => v < of[i]) + 0.5) / n;
        List<int> Corners(double a) =>
            [
                .. Enumerable
                    .Range(0, n)
                    .Where(i => (Place(e, i) >= 1 - a && Place(u, i) <= a) || (Place(e, i) <= a && Place(u, i) >= 1 - a)),
            ];
        var (low, high) = (0.0, 0.5);
        for (var step = 0; step < 60; step++)
        {
            var middle = (low + high) / 2;
            (low, high) = Corners(middle).Count >= share * n ? (low, middle) : (middle, high);
        }

        var expected = Corners(high);
        var kept = Enumerable
            .Range(0, n)
            .Where(i => pruned.Regions[i] is QTuning.Region.Misconception or QTuning.Region.Calibration)
            .ToList();
        // Two that enter together are one too many for the search.
        Assert.Subset(expected.ToHashSet(), kept.ToHashSet());
        Assert.InRange(expected.Count - kept.Count, 0, 1);
        for (var i = 0; i < n; i++)
        {
            var tokens = pruned.Mask[i].sum().item<long>();
            Assert.Equal(
                pruned.Regions[i] switch
                {
                    QTuning.Region.Misconception => 3,
                    QTuning.Region.Calibration => 6,
                    _ => 0,
                },
                tokens
            );
        }
    }

    [Fact]
    public void MaskedTokensNeverCount()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(6);
        var (losses, logits) = (rand([12, 5], float64), randn([12, 5, 7], float64));
        var mask = ones([12, 5], ScalarType.Bool);
        mask[.., 3..] = tensor(false);
        var entropies = QTuning.Entropies(logits);
        var p = logits.softmax(-1);
        Assert.True(entropies.allclose(-(p * p.log()).sum(-1)));
        using var pruned = new QTuning { SampleShare = 0.5 }.Apply(losses, entropies, mask);
        Assert.False(pruned.Mask[.., 3..].any().item<bool>());
        Assert.True(pruned.Mask.any().item<bool>());
        Assert.Throws<InfluenceException>(() => new QTuning().Apply(losses, entropies, zeros_like(mask)));

        // Error and uncertainty that rank alike leave nothing to keep.
        using var none = new QTuning().Apply(tensor([1.0, 2.0]).reshape(2, 1), tensor([1.0, 2.0]).reshape(2, 1));
        Assert.False(none.Mask.any().item<bool>());
        Assert.Throws<InfluenceException>(() => new QTuning().Apply(losses, rand([12, 4], float64)));
        Assert.Throws<InfluenceException>(() => new QTuning { SampleShare = 0 });
    }

    /// <summary>Skill-It's graph from trials: losses by a table in which group 0 teaches 1, and 1 nothing but itself.</summary>
    [Fact]
    public void SkillsThatHelpAreEdges()
    {
        var trained = 0;
        var graph = SkillIt.Graph(
            3,
            (on, seed) =>
            {
                trained++;
                double[] losses = [2, 2, 2];
                foreach (var group in on)
                {
                    losses[group] = on.Count == 1 ? 1 : 1.2;
                }

                if (on.Contains(0) && on.Contains(1))
                {
                    losses[1] = 0.8 + (0.01 * seed);
                }

                return losses;
            },
            [1, 2]
        );
        Assert.Equal(
            new[,]
            {
                { 1, 0.5, 0 },
                { 0, 1, 0 },
                { 0, 0, 1 },
            },
            graph
        );
        Assert.Equal(12, trained);
        Assert.Throws<InfluenceException>(() => SkillIt.Graph(1, (_, _) => [1], [1]));
        Assert.Throws<InfluenceException>(() => SkillIt.Graph(2, (_, _) => [1], [1]));
    }
}
