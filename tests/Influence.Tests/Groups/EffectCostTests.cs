using Influence.Curvature;
using Influence.Groups;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Groups;

/// <summary>What effects cost, and that progress says so beforehand.</summary>
public sealed class EffectCostTests : IDisposable
{
    private readonly Classifier _c = new(train: 40);
    private readonly DenseCurvature _dense;

    public EffectCostTests() => _dense = DenseCurvature.Fit(_c.Task(), _c.Train, new() { Damping = Damping.Absolute(0.5) });

    public void Dispose()
    {
        _dense.Dispose();
        _c.Dispose();
    }

    /// <summary>
    /// Two overlapping groups of 8 and 4, in one pass or one by one. First: their gradients. Second: all 40 for each pass, and the
    /// groups again. Newton: the groups once more; 51 parameters are one block of vectors.
    /// </summary>
    [Theory]
    [InlineData(GroupEffect.Expansion.First, 1L << 30, 12)]
    [InlineData(GroupEffect.Expansion.First, 1, 12)]
    [InlineData(GroupEffect.Expansion.Second, 1L << 30, 12 + 40 + 12)]
    [InlineData(GroupEffect.Expansion.Second, 1, 12 + 80 + 12)]
    [InlineData(GroupEffect.Expansion.Newton, 1L << 30, 12 + 40 + 12 + 12)]
    public void ProgressEndsAtItsTotal(GroupEffect.Expansion order, long memoryBudget, long total)
    {
        using var scope = NewDisposeScope();
        var reports = new Reports();
        var groups = ExampleGroups.FromMembers(("a", [0, 5, 10, 15, 20, 25, 30, 35]), ("b", [5, 6, 7, 8]));
        new GroupEffect(_dense) { Order = order, MemoryBudget = memoryBudget }.Predict(
            _c.Task(),
            _c.Train with
            {
                BatchSize = 8,
            },
            groups,
            _c.Queries,
            progress: reports
        );
        Assert.All(reports.All, report => Assert.Equal(total, report.Total));
        Assert.Equal(total, reports.All[^1].Done);
    }

    /// <summary>Five groups of a batch each, in runs or by turns: the same number of loss evaluations.</summary>
    [Theory]
    [InlineData(GroupEffect.Expansion.Second)]
    [InlineData(GroupEffect.Expansion.Newton)]
    public void ScatteredGroupsFillBatches(GroupEffect.Expansion order)
    {
        using var scope = NewDisposeScope();
        var evaluations = 0;
        var task = new InfluenceTask(_c.Model)
        {
            TrainingLoss = b =>
            {
                evaluations++;
                return _c.Loss(b);
            },
            Measurement = _c.Loss,
        };
        int Evaluations(Func<long, string> name)
        {
            evaluations = 0;
            new GroupEffect(_dense) { Order = order }.Predict(
                task,
                _c.Train with
                {
                    BatchSize = 8,
                },
                ExampleGroups.Of(_c.Train.Ids, name),
                _c.Queries
            );
            return evaluations;
        }

        // Once each before: the first call on a task is audited and its batches are checked, later ones rest on that.
        Evaluations(id => $"{id / 8}");
        Evaluations(id => $"{id % 5}");

        Assert.Equal(Evaluations(id => $"{id / 8}"), Evaluations(id => $"{id % 5}"));
    }

    /// <summary>To the second order a loader is not read anew for each group, and gives what tensors give.</summary>
    [Fact]
    public void ALoaderIsReadOnceForAllGroups()
    {
        using var scope = NewDisposeScope();
        var counted = new Counted(_c.X, _c.Y);
        using var loader = utils.data.DataLoader(counted, 6);
        (GroupEffect.Result Effects, int Reads) Run(int count)
        {
            counted.Reads = 0;
            var effects = new GroupEffect(_dense).Predict(
                _c.Task(),
                Examples.FromLoader(loader),
                ExampleGroups.Of(_c.Train.Ids, id => $"{id % count}"),
                _c.Queries
            );
            return (effects, counted.Reads);
        }

        var (two, eight) = (Run(2), Run(8));

        // Less than a pass more; a loader may have read ahead where it was left early.
        Assert.InRange(eight.Reads - two.Reads, -39, 39);
        var expected = new GroupEffect(_dense).Predict(_c.Task(), _c.Train, ExampleGroups.Of(_c.Train.Ids, id => $"{id % 8}"), _c.Queries);
        for (var g = 0; g < 8; g++)
        {
            // float64 sums in another order.
            Assert.Equal(
                expected.Linear(1, g, GroupEffect.Expansion.Second),
                eight.Effects.Linear(1, g, GroupEffect.Expansion.Second),
                1e-12
            );
        }
    }

    private sealed class Counted(Tensor x, Tensor y) : utils.data.Dataset
    {
        private int _reads;

        public int Reads
        {
            get => _reads;
            set => _reads = value;
        }

        public override long Count => x.shape[0];

        public override Dictionary<string, Tensor> GetTensor(long index)
        {
            Interlocked.Increment(ref _reads);
            return new() { ["x"] = x[index].clone(), ["y"] = y[index].clone() };
        }
    }
}
