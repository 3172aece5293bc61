using Influence.Tests.Evaluation;
using Influence.Unlearning;
using Xunit;

namespace Influence.Tests.Unlearning;

public class WorstCaseForgetSetTests
{
    /// <summary>Against all sets of four out of ten: never above the middle of them, and on most draws the best (a local search, so not
    /// always).</summary>
    [Fact]
    public void ItIsNearlyAlwaysTheBestOfAllSets()
    {
        var best = 0;
        for (var seed = 1; seed <= 10; seed++)
        {
            var values = EvaluationCases.Random(10, 10, seed);
            using var scores = EvaluationCases.Scores(values);
            double Sum(IReadOnlyList<long> set) => set.Sum(i => set.Sum(j => values[i, j]));
            var found = new WorstCaseForgetSet { Starts = 10 }.Find(scores, 4);
            var all = Enumerable
                .Range(0, 1 << 10)
                .Where(bits => int.PopCount(bits) == 4)
                .Select(bits => Sum([.. Enumerable.Range(0, 10).Where(i => (bits & (1 << i)) != 0).Select(i => (long)i)]))
                .Order()
                .ToList();
            Assert.Equal(4, found.Count);
            Assert.True(Sum(found) <= all[10], $"seed {seed}");
            best += Sum(found) <= all[0] + 1e-9 ? 1 : 0;
        }

        Assert.True(best >= 9, $"{best} of 10");
    }

    [Fact]
    public void WhatMakesNoSenseIsRefused()
    {
        using var scores = EvaluationCases.Scores(
            new double[,]
            {
                { 1, 2 },
                { 3, 4 },
            }
        );
        Assert.Equal([0L], new WorstCaseForgetSet().Find(scores, 1));
        Assert.Throws<InfluenceException>(() => new WorstCaseForgetSet().Find(scores, 2));
        using var wide = EvaluationCases.Scores(
            new double[,]
            {
                { 1, 2 },
            }
        );
        Assert.Throws<InfluenceException>(() => new WorstCaseForgetSet().Find(wide, 1));
        using var broken = EvaluationCases.Scores(
            new double[,]
            {
                { 1, double.NaN },
                { 3, 4 },
            }
        );
        Assert.Throws<InfluenceException>(() => new WorstCaseForgetSet().Find(broken, 1));
    }
}
