using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Groups;
using Influence.Tests.Groups;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using Xunit.Sdk;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>
/// Models drawn at random against plain autograd example by example. A call that is refused is right too, a wrong number never is. For a
/// longer hunt set INFLUENCE_SEEDS to a first and a last seed, 1000-5000, and INFLUENCE_SEEDS_LOG to a file for what is found.
/// </summary>
public sealed class RandomModelTests
{
    private const int Usual = 20;

    [Fact]
    public void ScoresAreExactOrRefused() =>
        Hunt(model => PlainAutograd.AssertScores(model.Model, model.Loss, model.BatchSize, model.Data));

    [Fact]
    public void TrainingGradientsAreExactOrRefused() => Hunt(model => PlainAutograd.AssertTrains(model.Model, model.Loss, 2, model.Data));

    /// <summary>A batch of one example has no rows to confuse: where both go by the same rules, a fit and its scores are the
    /// same.</summary>
    [Fact]
    public void CurvatureIsThatOfSingleExamplesOrRefused() =>
        Hunt(model =>
        {
            model.Model.eval();
            var task = new InfluenceTask(model.Model) { TrainingLoss = model.Loss };
            var examples = Examples.FromTensors(model.Data);
            var (many, single) = (examples with { BatchSize = model.BatchSize }, examples with { BatchSize = 1 });
            if (model.DropsRows || Methods(many) != Methods(single))
            {
                return;
            }

            using var expected = Scores(single);
            using var found = Scores(many);
            var error = SingleExampleLoop.RelativeError(found.Values, expected.Values);
            Assert.True(error < 1e-8, $"{error:0.0e0} beside batches of one");

            string Methods(Examples of) => string.Join(";", task.Coverage(of).Parameters.Select(p => p.Method));

            InfluenceScores Scores(Examples of)
            {
                using var fit = Ekfac.Fit(task, of, new Ekfac.Options { Fisher = Fisher.Empirical });
                return new InfluenceFunction(fit).Score(task, of, of);
            }
        });

    /// <summary>Sums over queries and groups, no memory, another order of the data, and products within a training step.</summary>
    [Fact]
    public void OtherWaysGiveTheSameNumbersOrAreRefused() =>
        Hunt(model =>
        {
            model.Model.eval();
            var g = PlainAutograd.Gradients(model.Model, model.Loss, model.Data);
            var expected = g.mm(g.t()); // [N, N]
            var task = new InfluenceTask(model.Model) { TrainingLoss = model.Loss };
            var examples = Examples.FromTensors(model.Data) with { BatchSize = model.BatchSize };

            using var small = new TracIn { MemoryBudget = 1 }.Score(task, examples, examples);
            AssertSame(expected, small.Values, "no memory");
            using var sum = new TracIn { Aggregation = InfluenceFunction.QueryAggregation.Sum }.Score(task, examples, examples);
            AssertSame(expected.sum(0L, keepdim: true), sum.Values, "sum of queries");

            var (groups, halves) = (GroupOracle.Mixed(examples), GroupOracle.Halves(examples));
            var sums = new GroupInfluence(new TracIn()).Score(task, examples, groups, examples, halves);
            if (expected.count_nonzero().item<long>() > 0)
            {
                GroupOracle.AssertEqual(GroupOracle.Sums(small, groups, halves), sums);
            }

            var order = randperm(expected.shape[0]);
            var moved = Examples.FromTensors([.. model.Data.Select(d => (d.Name, d.Tensor.index_select(0, order)))]);
            using var permuted = new TracIn().Score(task, moved with { BatchSize = model.BatchSize + 1 }, examples);
            AssertSame(expected.index_select(1, order), permuted.Values, "another order");

            var count = expected.shape[0] / 2;
            var (batch, validation) = (PlainAutograd.Batch(model.Data, 0, count), PlainAutograd.Batch(model.Data, count, count));
            using var loop = TrainingGradients.Open(task, batch, validation);
            using var step = loop.Step(batch, validation);
            step.Accumulate();
            model.Model.zero_grad();
            var rules = PlainAutograd.ByRule(loop);
            if (rules.Count > 0)
            {
                var own = PlainAutograd.Gradients(model.Model, model.Loss, model.Data, rules.Contains);
                var (first, second) = (own.narrow(0, 0, count), own.narrow(0, count, count));
                AssertSame(first.mm(first.t()), step.Gram(), "gram");
                AssertSame(first.mv(second.mean([0])), step.ValidationProducts(), "validation products");
            }

            static void AssertSame(Tensor expected, Tensor found, string what)
            {
                var error = SingleExampleLoop.RelativeError(found, expected);
                Assert.True(error < 1e-9, $"{what}: {error:0.0e0}");
            }
        });

    private static void Hunt(Action<RandomModel> check)
    {
        var (first, last) = Environment.GetEnvironmentVariable("INFLUENCE_SEEDS") is { } given
            ? (Number(given.Split('-')[0]), Number(given.Split('-')[1]))
            : (0, Usual - 1);
        List<string> wrong = [];
        var refused = 0;
        for (var seed = first; seed <= last; seed++)
        {
            using var scope = NewDisposeScope();
            var model = new RandomModel(seed);
            try
            {
                check(model);
            }
            catch (InfluenceException exception)
            {
                refused++;
                Note($"refused {seed}: {model.Description}: {exception.Message}");
            }
            catch (Exception exception)
            {
                wrong.Add($"{seed}: {model.Description}: {exception.GetType().Name} {exception.Message}");
                Note($"wrong {wrong[^1]}");
            }
        }

        Assert.True(wrong.Count == 0, string.Join("\n", wrong));
        Assert.True(refused < (last - first + 1) / 5, $"{refused} refused");

        static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

        static void Note(string line)
        {
            if (Environment.GetEnvironmentVariable("INFLUENCE_SEEDS_LOG") is { } file)
            {
                File.AppendAllText(file, line + "\n");
            }
        }
    }
}
