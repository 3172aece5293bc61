using Influence.Estimators;
using Influence.Groups;
using Influence.Numerics;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Groups;

/// <summary>Standard errors and intervals: the formula, the quantiles, and how often an interval holds the truth.</summary>
public class IntervalTests
{
    /// <summary>Values of Student's t table, as printed to three decimals.</summary>
    [Theory]
    [InlineData(1, 0.975, 12.706)]
    [InlineData(2, 0.995, 9.925)]
    [InlineData(9, 0.975, 2.262)]
    [InlineData(19, 0.975, 2.093)]
    [InlineData(19, 0.95, 1.729)]
    [InlineData(120, 0.975, 1.980)]
    [InlineData(double.PositiveInfinity, 0.975, 1.960)]
    [InlineData(5, 0.5, 0)]
    [InlineData(9, 0.025, -2.262)]
    public void Quantiles(double freedom, double probability, double expected) =>
        Assert.Equal(expected, StudentT.Quantile(probability, freedom), 0.0006);

    /// <summary>With one part an example the standard error is that of a mean, times the group's size.</summary>
    [Fact]
    public void OneBlockAnExampleIsTheTextbookStandardError()
    {
        using var scope = NewDisposeScope();
        var population = new Linear(30, seed: 1);
        using var scores = new TracIn().Score(population.Task, population.Train, population.Queries);
        var values = scores.Values.data<double>().ToArray();
        var deviation = Math.Sqrt(values.Sum(v => Math.Pow(v - values.Average(), 2)) / 29);

        var whole = population.Score(blocks: 30);
        Assert.Equal(30 * deviation / Math.Sqrt(30), whole.StandardError(0, 0), 1e-10);
        Assert.Equal(0, whole.SamplingError(0, 0));
        var half = StudentT.Quantile(0.95, 29) * whole.StandardError(0, 0);
        Assert.Equal((whole.Sum(0, 0) - half, whole.Sum(0, 0) + half), whole.Interval(0, 0, 0.9));
        Assert.Equal(whole.Interval(0, 0).Upper / 30, whole.PerExampleInterval(0, 0).Upper, 1e-12);

        // A token is an example here; three tokens each make the mean of a token a third.
        Assert.Equal(whole.PerExampleInterval(0, 0, 0.9), whole.PerTokenInterval(0, 0, 0.9));
        var three = new GroupScores(
            new double[,]
            {
                { whole.Sum(0, 0) },
            },
            ["q"],
            [new GroupScores.Row("g", 30, 90) { Blocks = 30 }],
            whole.Metadata,
            new double[,]
            {
                { whole.StandardError(0, 0) },
            }
        );
        Assert.Equal(whole.Interval(0, 0, 0.9).Lower / 90, three.PerTokenInterval(0, 0, 0.9).Lower, 1e-12);
        Assert.Equal(whole.Interval(0, 0, 0.9).Upper / 90, three.PerTokenInterval(0, 0, 0.9).Upper, 1e-12);

        var sampled = population.Score(blocks: 10, maximum: 10);
        Assert.Equal(sampled.StandardError(0, 0) * Math.Sqrt(2.0 / 3), sampled.SamplingError(0, 0), 1e-12);
        Assert.Throws<InfluenceException>(() => whole.Interval(0, 0, 95));
    }

    /// <summary>
    /// Groups drawn again and again from a population whose mean influence is known: intervals of 90% hold it in 90% of 400 draws,
    /// within four standard deviations (1.5% each) of that share. Whole groups and sampled ones, few and many parts.
    /// </summary>
    [Theory]
    [InlineData(48, int.MaxValue, 6)]
    [InlineData(45, int.MaxValue, 20)]
    [InlineData(60, 24, 8)]
    public void IntervalsHoldThePopulationsMean(int size, int maximum, int blocks)
    {
        using var scope = NewDisposeScope();
        var draws = Linear.Many(400, size);
        var found = draws.Score(blocks, maximum);
        var held = Enumerable
            .Range(0, 400)
            .Count(g => found.PerExampleInterval(0, g, 0.9) is var (lower, upper) && lower <= Linear.Truth && Linear.Truth <= upper);
        Assert.InRange(held / 400.0, 0.84, 0.96);
    }

    /// <summary>A small group is dealt to few parts, since each costs a pass; a large one to as many as fill batches.</summary>
    [Theory]
    [InlineData(1, 1)]
    [InlineData(16, 2)]
    [InlineData(200, 3)]
    [InlineData(512, 8)]
    [InlineData(1300, 10)]
    [InlineData(4000, 20)]
    public void PartsByDefault(int size, int parts)
    {
        using var scope = NewDisposeScope();
        var found = new Linear(size, seed: 3).Score(blocks: null);
        Assert.Equal(parts, found.TrainGroups[0].Blocks);
        Assert.Equal(size > 1, found.StandardError(0, 0) > 0);
    }

    /// <summary>The sampling error is how far a sampled group is from the same group looked at whole.</summary>
    [Fact]
    public void TheSamplingErrorIsThatOfTheGroupItself()
    {
        using var scope = NewDisposeScope();
        var groups = Linear.Many(300, 40);
        var (whole, sampled) = (groups.Score(20), groups.Score(10, 20));
        var ratios = Enumerable
            .Range(0, 300)
            .Select(g => Math.Pow((sampled.Sum(0, g) - whole.Sum(0, g)) / sampled.SamplingError(0, g), 2))
            .ToArray();

        // The mean of a squared t with 9 degrees of freedom is 9/7; its mean over 300 draws has a standard deviation of 0.13.
        Assert.InRange(ratios.Average(), (9 / 7.0) - 0.5, (9 / 7.0) + 0.5);
    }

    /// <summary>One weight at zero and the loss 1/2 (x w - y)^2, so that a score with the query x = 1, y = -1 is -x y: a product of normal
    /// numbers.</summary>
    private sealed class Linear
    {
        public const double Truth = -0.6;
        private readonly ExampleGroups _groups;

        public Linear(int count, int seed, int groups = 1)
        {
            random.manual_seed(seed);
            var model = nn.Linear(1, 1, hasBias: false, dtype: float64);
            using (no_grad())
            {
                model.weight.zero_();
            }

            model.eval();
            Task = new InfluenceTask(model) { TrainingLoss = b => 0.5 * (model.call(b["x"]).squeeze(1) - b["y"]).Squared() };
            var x = randn([count, 1], dtype: float64);

            // y = 0.6 x + noise: the mean of -x y is -0.6.
            Train = Examples.FromTensors(("x", x), ("y", (0.6 * x.squeeze(1)) + randn(count, dtype: float64)));
            Queries = Examples.FromTensors(("x", ones([1, 1], dtype: float64)), ("y", -ones([1], dtype: float64)));
            _groups = ExampleGroups.Of(Train.Ids, id => $"group {id % groups}");
        }

        public InfluenceTask Task { get; }

        public Examples Train { get; }

        public Examples Queries { get; }

        public static Linear Many(int groups, int size) => new(groups * size, seed: 8, groups);

        public GroupScores Score(int? blocks, int maximum = int.MaxValue) =>
            new GroupInfluence(new TracIn())
            {
                Blocks = blocks,
                MaximumExamples = maximum,
                Seed = 5,
            }.Score(Task, Train, _groups, Queries);
    }
}
