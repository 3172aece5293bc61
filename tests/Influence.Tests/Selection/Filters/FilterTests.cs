using Influence.Evaluation;
using Influence.Selection;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection.Filters;

/// <summary>What weeds out before scores: the sheets' checks, and loops.</summary>
public class FilterTests
{
    [Fact]
    public void NeighbourLabels_are_the_loop_and_find_flipped_ones()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(4);
        var truth = arange(90, ScalarType.Int64).remainder(3);
        var features = (3 * randn(3, 8))[truth] + randn(90, 8);
        long[] flipped = [.. Enumerable.Range(0, 90).Where(i => i % 10 == 4).Select(i => (long)i)];
        long[] labels = [.. truth.data<long>().Select((y, i) => flipped.Contains(i) ? (y + 1) % 3 : y)];

        var scores = new NeighbourLabels { K = 7 }.Score(features, labels);

        var unit = features / features.norm(1, keepdim: true);
        var cosines = unit.mm(unit.t()).data<float>().ToArray();
        for (var i = 0; i < 90; i++)
        {
            var nearest = Enumerable.Range(0, 90).Where(j => j != i).OrderByDescending(j => cosines[(i * 90) + j]).Take(7);
            Assert.Equal(nearest.Count(j => labels[j] != labels[i]) / 7.0, scores[i], 1e-12);
        }

        Assert.True(new MislabelDetection().Evaluate(scores, flipped).Auc.Value > 0.95);
        Assert.Throws<InfluenceException>(() => new NeighbourLabels { K = 90 }.Score(features, labels));
        Assert.Throws<InfluenceException>(() => new NeighbourLabels().Score(features, labels[..50]));
    }

    /// <summary>Texts of one passage with ever more words replaced; the truth is Jaccard's similarity of all pairs.</summary>
    [Fact]
    public void Near_duplicates_are_those_of_all_pairs()
    {
        var random = new Random(2);
        string Words(int count) => string.Join(' ', Enumerable.Range(0, count).Select(_ => $"w{random.Next(5000)}"));
        var texts = new List<string>();
        for (var passage = 0; passage < 30; passage++)
        {
            var words = Words(120).Split(' ');
            for (var copy = 0; copy < 4; copy++)
            {
                var own = words.ToArray();
                for (var change = 0; change < copy * 3; change++)
                {
                    own[random.Next(own.Length)] = "changed" + random.Next(1000);
                }

                texts.Add(string.Join(' ', own));
            }
        }

        long[] ids = [.. Enumerable.Range(0, texts.Count).Select(i => 1000L - i)];
        var method = new NearDuplicates { Similarity = 0.6 };
        var found = method.Find(texts, ids);
        ulong[][] shingles = [.. texts.Select(method.Shingles)];
        var truth = (
            from a in Enumerable.Range(0, texts.Count)
            from b in Enumerable.Range(a + 1, texts.Count - a - 1)
            where NearDuplicates.Jaccard(shingles[a], shingles[b]) >= 0.6
            select (ids[a], ids[b])
        ).ToHashSet();

        Assert.Subset(truth, found.Pairs.Select(p => (p.First, p.Second)).ToHashSet());
        Assert.True(found.Pairs.Count >= 0.99 * truth.Count, $"{found.Pairs.Count} of {truth.Count}");
        Assert.True(truth.Count > 40);
        Assert.Equal(texts.Count - found.Clusters.Sum(c => c.Count - 1), found.Kept.Count);
        Assert.All(found.Clusters, c => Assert.Contains(c[0], found.Kept));

        // A place of the signature agrees with the probability of the similarity: 128 places, three standard errors.
        var (first, second) = (NearDuplicates.Signature(shingles[0]), NearDuplicates.Signature(shingles[1]));
        var similarity = NearDuplicates.Jaccard(shingles[0], shingles[1]);
        Assert.Equal(
            similarity,
            first.Zip(second).Count(p => p.First == p.Second) / 128.0,
            3 * Math.Sqrt(similarity * (1 - similarity) / 128)
        );
    }

    [Fact]
    public void Near_duplicates_by_hand()
    {
        var found = new NearDuplicates { ShingleWords = 1, Similarity = 0.5 }.Find(
            ["The red fox.", "the RED fox", "a red fox", "something else", "", "!"],
            [9, 4, 7, 1, 2, 3]
        );

        // {a, red, fox} and {the, red, fox} share two of four words.
        IReadOnlyList<long>[] clusters =
        [
            [2, 3],
            [4, 7, 9],
        ];
        Assert.Equal(clusters, found.Clusters);
        Assert.Equal([4L, 1, 2], found.Kept);
        Assert.Throws<InfluenceException>(() => new NearDuplicates().Find(["a", "b"], [1, 1]));
        Assert.Throws<InfluenceException>(() => new NearDuplicates { Similarity = 0 });
    }

    [Fact]
    public void PredictiveStrength_is_the_share_of_ordered_pairs()
    {
        var worst = ExampleScores.Of([1, 2, 3, 4], [3, 1, 2, 5]);
        var middle = ExampleScores.Of([4, 3, 2, 1], [5, 1, 2, 2]);
        var best = ExampleScores.Of([1, 2, 3, 4], [1, 3, 1.5, 5]);

        // Falling: 1; rising: 0; 2, 1, 1.5: two of three; ties count nothing.
        Assert.Equal([1.0, 0, 2.0 / 3, 0], PredictiveStrength.Of(worst, middle, best).Values);
        Assert.Throws<InfluenceException>(() => PredictiveStrength.Of(worst));
        Assert.Throws<InfluenceException>(() => PredictiveStrength.Of(worst, ExampleScores.Of([1], [2])));
        Assert.Throws<InfluenceException>(() => PredictiveStrength.Of(worst, ExampleScores.Of([1, 2, 3, 4], [2, double.NaN, 1, 1])));
    }

    [Fact]
    public void InstructMinings_rule_is_its_sum()
    {
        var ones = ExampleScores.Of([5, 6], [1, 2]);

        var scores = LinearRule.InstructMining.Score(
            ("coherence", ones),
            ("reward", ones),
            ("naturalness", ones),
            ("understandability", ones)
        );

        Assert.Equal(0.0274 - 0.0078 + 0.4421 - 0.3212 - 0.1520, scores[0], 1e-12);
        Assert.Equal(0.0274 + (2 * (-0.0078 + 0.4421 - 0.3212 - 0.1520)), scores[1], 1e-12);
        Assert.Contains(
            "understandability",
            Assert.Throws<InfluenceException>(() => LinearRule.InstructMining.Score(("reward", ones))).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => new LinearRule { Weights = [] });
    }

    /// <summary>The sheet's check, the limit of equal weights, and the gradient of the objective that the weights are of.</summary>
    [Fact]
    public void ReferenceReweighting_is_the_gradient_of_DRRhos_objective()
    {
        using var scope = NewDisposeScope();
        var losses = tensor(new double[] { 2, 1 });

        Assert.Equal(
            [0.731059, 0.268941],
            new ReferenceReweighting().Weights(losses, tensor(new double[] { 1, 1 })).data<double>().ToArray(),
            (a, b) => Math.Abs(a - b) < 1e-6
        );
        Assert.Equal(
            [0.5, 0.5],
            new ReferenceReweighting { Temperature = 1e9 }
                .Weights(losses, tensor(new double[] { 1, 1 }))
                .data<double>()
                .ToArray(),
            (a, b) => Math.Abs(a - b) < 1e-8
        );

        var (own, reference) = (tensor(new[] { 0.3, 2.1, 1.4 }, requires_grad: true), tensor(new[] { 0.5, 0.4, 1.9 }));
        var temperature = tensor(0.7);
        autograd.backward([temperature * ((own - reference) / temperature).exp().mean().log()]);
        Assert.Equal(
            own.grad!.data<double>().ToArray(),
            new ReferenceReweighting { Temperature = 0.7 }
                .Weights(own, reference)
                .data<double>()
                .ToArray(),
            (a, b) => Math.Abs(a - b) < 1e-12
        );
        Assert.Throws<InfluenceException>(() => new ReferenceReweighting().Weights(losses, reference));
        Assert.Throws<InfluenceException>(() => new ReferenceReweighting().Weights(losses, tensor(new[] { 1, double.NaN })));
    }
}
