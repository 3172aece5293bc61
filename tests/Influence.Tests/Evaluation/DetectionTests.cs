using Influence.Evaluation;
using TorchSharp;
using Xunit;
using static Influence.Tests.Evaluation.EvaluationCases;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>Finding what is known: wrong labels, origins, and label issues by confident learning.</summary>
public class DetectionTests
{
    private static readonly MislabelDetection s_detection = new() { Bootstrap = Quick };

    [Fact]
    public void APerfectRankingAndItsReverse()
    {
        var right = s_detection.Evaluate(ExampleScores.Of(Ids(10), [.. Ids(10).Select(i => (double)i)]), [8, 9]);
        var wrong = s_detection.Evaluate(ExampleScores.Of(Ids(10), [.. Ids(10).Select(i => -(double)i)]), [8, 9]);

        Assert.Equal(new Estimate(1, 1, 1), right.Auc);
        Assert.Equal(new Estimate(1, 1, 1), right.AveragePrecision);
        Assert.Equal(0.5, right.RecallAt(0.1), 12);
        Assert.Equal(1, right.RecallAt(0.2), 12);
        Assert.Equal(0, wrong.Auc.Value, 12);
        Assert.Equal(0.5, wrong.RecallAt(0.9), 12);
    }

    [Fact]
    public void AConstantScoreIsChance()
    {
        var result = s_detection.Evaluate(ExampleScores.Of(Ids(20), new double[20]), [3, 4, 5, 6, 7]);

        Assert.Equal(0.5, result.Auc.Value, 12);
        Assert.Equal(0.25, result.AveragePrecision.Value, 12);
        Assert.All(result.Curve, point => Assert.Equal(point.Share, point.Recall, 12));
    }

    [Fact]
    public void TiesCountHalf()
    {
        // Highest first: {wrong, right} tied, right, {wrong, right, right} tied. Pairs won by the first wrong label: 1/2 + 3;
        // by the second: 2/2; of 8.
        var scores = ExampleScores.Of([10, 11, 12, 13, 14, 15], [1, 5, 5, 3, 1, 1]);
        var result = new MislabelDetection { Bootstrap = Quick, Shares = [0.5] }.Evaluate(scores, [11, 14]);

        Assert.Equal(4.5 / 8, result.Auc.Value, 12);

        // Thresholds at 5: recall 1/2, precision 1/2; at 1: recall 1, precision 1/3.
        Assert.Equal((0.5 * 0.5) + (0.5 / 3), result.AveragePrecision.Value, 12);

        // A sixth checked is half of the first tie; five sixths are the first three and two of three.
        Assert.Equal(0.25, result.RecallAt(1 / 6.0), 12);
        Assert.Equal((1 + (2 / 3.0)) / 2, result.RecallAt(5 / 6.0), 12);
        Assert.True(result.Auc.Lower < result.Auc.Value && result.Auc.Value < result.Auc.Upper);
        Assert.Contains("found after checking 50%", result.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void BadInputIsNamed()
    {
        var thrown = Assert.Throws<InfluenceException>(() => s_detection.Evaluate(ExampleScores.Of([1, 2], [double.NaN, 1]), [2, 3]));
        Assert.Contains("have no score: ids 3", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("no number for a score: ids 1", thrown.Message, StringComparison.Ordinal);
        Assert.Contains(
            "found 0 wrong ones of 2",
            Assert.Throws<InfluenceException>(() => s_detection.Evaluate(ExampleScores.Of([1, 2], [0, 1]), [])).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void RetrievalByHand()
    {
        using var scope = NewDisposeScope();

        // Query 0: relevant at ranks 2 and 4. Query 1: one example above a tie of four, two of them relevant. Query 2: nothing.
        using var scores = Scores(
            new[,]
            {
                { 9.0, 8, 7, 6, 5 },
                { 2, 2, 5, 2, 2 },
                { 1, 2, 3, 4, 5 },
            },
            [0, 1, 2],
            [10, 11, 12, 13, 14]
        );
        bool IsRelevant(long query, long train) =>
            query switch
            {
                0 => train is 11 or 13,
                1 => train is 10 or 14,
                _ => false,
            };
        var result = new RetrievalTest { Bootstrap = Quick, Ks = [1, 2, 100] }.Evaluate(scores, IsRelevant);

        // The first relevant one of the tie is at 1, 2 or 3 of it with probability 1/2, 1/3 and 1/6.
        var tied = (0.5 / 2) + (1 / 3.0 / 3) + (1 / 6.0 / 4);
        Assert.Equal((0.5 + tied) / 2, result["MRR"].Estimate.Value, 12);
        Assert.Equal(0, result["precision@1"].Estimate.Value, 12);
        Assert.Equal((0.5 + 0.25) / 2, result["precision@2"].Estimate.Value, 12);
        Assert.Equal((0.5 + 0.25) / 2, result["recall@2"].Estimate.Value, 12);
        Assert.Equal(((0.25 + 0.25) + 0.4) / 2, result["average precision"].Estimate.Value, 12);

        // By chance two of five are relevant.
        Assert.Equal(0.4, result["precision@2"].Chance, 12);
        Assert.Equal((2 / 5.0) + (3 / 10.0 / 2) + (2 / 10.0 / 3) + (1 / 10.0 / 4), result["MRR"].Chance, 12);
        Assert.Equal([(2, "nothing is relevant to it")], result.Dropped);
        Assert.Throws<InfluenceException>(() => result["recall@100"]);
    }

    [Fact]
    public void AModelWithRandomWeights()
    {
        using var scope = NewDisposeScope();
        using var trained = Scores(Random(30, 40, 1));
        using var reversed = new InfluenceScores(trained.Values.neg(), trained.QueryIds, trained.TrainIds, trained.Metadata);
        using var random = Scores(Random(30, 40, 2));

        // The same scores with rows and columns in another order: joined by id.
        using var turned = new InfluenceScores(
            trained.Values.flip(0, 1),
            [.. trained.QueryIds.Reverse()],
            [.. trained.TrainIds.Reverse()],
            trained.Metadata
        );
        var check = new RankAgreement { Bootstrap = Quick };

        Assert.Equal(1, check.EvaluateRandomized(trained, turned).Mean.Value, 12);
        Assert.Equal(-1, check.EvaluateRandomized(trained, reversed).Mean.Value, 12);
        Assert.True(check.EvaluateRandomized(trained, random).Mean.Contains(0));
        using var others = Scores(Random(30, 41, 2));
        Assert.Throws<InfluenceException>(() => check.EvaluateRandomized(trained, others));
    }

    [Fact]
    public void ConfidentLearningByHand()
    {
        using var scope = NewDisposeScope();
        var p = tensor(
            new[,]
            {
                { 0.9, 0.1 },
                { 0.8, 0.2 },
                { 0.3, 0.7 },
                { 0.2, 0.8 },
                { 0.1, 0.9 },
                { 0.6, 0.4 },
            }
        );
        var found = new ConfidentLearning().Find(p, [0, 0, 0, 1, 1, 1]);

        Assert.Equal(2 / 3.0, found.Thresholds[0], 12);
        Assert.Equal(0.7, found.Thresholds[1], 12);

        // The third reaches class 1's threshold, the last reaches none.
        Assert.Equal(
            new[,]
            {
                { 2, 1 },
                { 0, 2 },
            },
            found.ConfidentJoint
        );
        Assert.Equal(
            new[,]
            {
                { 2 / 6.0, 1 / 6.0 },
                { 0, 3 / 6.0 },
            },
            found.Joint
        );
        foreach (var filter in Enum.GetValues<ConfidentLearning.Kind>())
        {
            Assert.Equal(
                [2],
                new ConfidentLearning { Filter = filter }
                    .Find(p, [0, 0, 0, 1, 1, 1])
                    .Ids
            );
        }

        Assert.Equal([0.1, 0.2, 0.7, 0.2, 0.1, 0.6], found.SelfConfidence.Values.Select(v => Math.Round(v, 12)));
        Assert.Equal(0.4, found.Margin[2], 12);
    }

    [Fact]
    public void ConfidentLearningFindsFlippedLabels()
    {
        using var scope = NewDisposeScope();

        // Ten examples a class, predicted well; one of each has the next class's label.
        var (rows, labels) = (new double[30, 3], new long[30]);
        for (var i = 0; i < 30; i++)
        {
            var truth = i / 10;
            labels[i] = i % 10 == 4 ? (truth + 1) % 3 : truth;
            for (var k = 0; k < 3; k++)
            {
                rows[i, k] = k == truth ? 0.8 - (0.01 * (i % 10)) : (0.2 + (0.01 * (i % 10))) / 2;
            }
        }

        foreach (var filter in Enum.GetValues<ConfidentLearning.Kind>())
        {
            var found = new ConfidentLearning { Filter = filter }.Find(tensor(rows), labels, Ids(30, first: 100));
            Assert.Equal([104, 114, 124], found.Ids.Order());
            Assert.Equal(1, s_detection.Evaluate(found.SelfConfidence, found.Ids).Auc.Value, 12);
        }
    }

    [Fact]
    public void LogitsAreRefused()
    {
        using var scope = NewDisposeScope();
        var thrown = Assert.Throws<InfluenceException>(() =>
            new ConfidentLearning().Find(
                tensor(
                    new[,]
                    {
                        { 0.5, 0.5 },
                        { 2.0, -1 },
                    }
                ),
                [0, 2]
            )
        );
        Assert.Contains("Labels are 0 to 1; those of these examples are not: ids 1", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("logits want softmax(-1)", thrown.Message, StringComparison.Ordinal);
    }
}
