using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

public sealed class AumThresholdTests : IDisposable
{
    private static readonly long[] s_ids = [.. Enumerable.Range(0, 60).Select(i => (long)i)];
    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    [Fact]
    public void TheSamplesAreNByCPlusOneSeededAndApart()
    {
        var samples = new AumThreshold { Seed = 3 }.Draw(s_ids, classes: 4);
        Assert.Equal((12, 12, 4), (samples.Of(0).Count, samples.Of(1).Count, samples.Class));
        Assert.Empty(samples.Of(0).Intersect(samples.Of(1)));
        Assert.True(samples.Of(0).IsSubsetOf(s_ids));
        Assert.Equal(
            samples.Of(0),
            new AumThreshold { Seed = 3 }
                .Draw([.. s_ids.Reverse()], 4)
                .Of(0)
        ); // whatever the order
        Assert.NotEqual(
            samples.Of(0),
            new AumThreshold { Seed = 4 }
                .Draw(s_ids, 4)
                .Of(0)
        );
    }

    [Fact]
    public void LabelsOfTheRunAreReplaced()
    {
        var samples = new AumThreshold().Draw(s_ids, 4);
        var labels = tensor(s_ids.Select(id => id % 4).ToArray());
        for (var run = 0; run < 2; run++)
        {
            Assert.Equal(
                s_ids.Select(id => samples.Of(run).Contains(id) ? 4 : id % 4),
                samples.Relabel(s_ids, labels, run).data<long>().ToArray()
            );
        }

        Assert.Equal(s_ids.Select(id => id % 4), labels.data<long>().ToArray());
    }

    /// <summary>Thresholds by hand: of areas 0..11 the 99th percentile is 10.89, of 100..111 it is 110.89.</summary>
    [Fact]
    public void EveryExampleIsJudgedByTheRunInWhichItsLabelIsItsOwn()
    {
        var samples = new AumThreshold().Draw(s_ids, 4);
        var (first, second) = (Areas(samples, 0, 0), Areas(samples, 1, 100));
        var flags = samples.Judge(first, second);

        Assert.Equal([10.89, 110.89], flags.Thresholds, (a, b) => Math.Abs(a - b) < 1e-12);
        Assert.Empty(flags.NotJudged);
        Assert.Equal(s_ids, flags.AboveThreshold.Ids);
        foreach (var id in s_ids)
        {
            var area = 5 + (10.0 * (id % 2)); // 5 or 15 beside the first threshold
            var expected = samples.Of(0).Contains(id) ? 100 + area - 110.89 : area - 10.89;
            Assert.Equal(expected, flags.AboveThreshold[(int)id], 1e-12);
        }

        Assert.Equal(s_ids.Where(id => id % 2 == 0), flags.Flagged.Order());
        Assert.StartsWith("30 of 60 labels flagged, threshold 10.89 and 110.9, 0 not judged", flags.ToString(), StringComparison.Ordinal);

        var one = samples.Judge(first);
        Assert.Equal(samples.Of(0).Order(), one.NotJudged);
        Assert.Equal(48, one.AboveThreshold.Count);
    }

    /// <summary>A model that learns real labels and not the false ones: exactly those, and none of the real ones, are flagged.</summary>
    [Fact]
    public void WrongLabelsOfARunAreFound()
    {
        var wrong = new HashSet<long> { 3, 17, 40 };
        var threshold = new AumThreshold { Seed = 1 };
        var samples = threshold.Draw(s_ids, 4);
        var areas = new List<ExampleScores>();
        for (var run = 0; run < 2; run++)
        {
            using var dynamics = new TrainingDynamics();
            for (var epoch = 0; epoch < 3; epoch++)
            {
                // The logits say id % 4; a wrong label says the next class, and is further from it than class 4, which is new.
                var logits = zeros(60, 5);
                foreach (var id in s_ids)
                {
                    logits[id, id % 4] = 4;
                    logits[id, 4] = -1;
                    logits[id, (id + 1) % 4] = -2 - (0.01 * epoch);
                }

                var labels = tensor(s_ids.Select(id => (id + (wrong.Contains(id) ? 1 : 0)) % 4).ToArray());
                dynamics.Record(s_ids, logits, samples.Relabel(s_ids, labels, run));
            }

            areas.Add(dynamics.AreaUnderMargin());
        }

        Assert.Equal(wrong.Order(), samples.Judge(areas[0], areas[1]).Flagged.Order());
    }

    [Fact]
    public void BadInput()
    {
        Assert.Throws<InfluenceException>(() => new AumThreshold().Draw([1, 1, 2], 1));
        Assert.Throws<InfluenceException>(() => new AumThreshold().Draw([1, 2], 2));
        Assert.Throws<InfluenceException>(() => new AumThreshold().Draw([1, 2], 0));
        var samples = new AumThreshold().Draw(s_ids, 4);
        Assert.Throws<InfluenceException>(() => samples.Of(2));
        Assert.Throws<InfluenceException>(() => samples.Relabel([1, 2], tensor([1L]), 0));
        Assert.Throws<InfluenceException>(() => samples.Relabel([1], tensor([1.0]), 0));
        Assert.Contains(
            "lacks those of 12",
            Assert.Throws<InfluenceException>(() => samples.Judge(ExampleScores.Of([], []))).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "ids 99",
            Assert.Throws<InfluenceException>(() => samples.Judge(ExampleScores.Of([99], [1]))).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>The run's samples have areas 0, 1, 2, ... above an offset, all others 5 or 15.</summary>
    private static ExampleScores Areas(AumThreshold.Planned samples, int run, double offset)
    {
        var next = 0;
        return ExampleScores.Of(s_ids, [.. s_ids.Select(id => offset + (samples.Of(run).Contains(id) ? next++ : 5 + (10.0 * (id % 2))))]);
    }
}
