using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using static Influence.Tests.Training.Traces;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

public sealed class TrainingDynamicsTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TrainingDynamics _dynamics = new();

    public void Dispose()
    {
        _dynamics.Dispose();
        _scope.Dispose();
    }

    /// <summary>Softmax (0.7, 0.2, 0.1), label 0.</summary>
    [Fact]
    public void El2nOfTheWorkedExample()
    {
        Present(_dynamics, 5, 0, [Math.Log(0.7), Math.Log(0.2), Math.Log(0.1)]);
        Assert.Equal(0.374166, _dynamics.El2n()[0], 1e-6); // six decimals are given
        Assert.Equal(-Math.Log(0.7), _dynamics.MeanLoss()[0], 1e-6); // float32 at rest
    }

    /// <summary>Right and wrong over presentations: 0,1,1,0,1 is forgotten once, 0,0,0 never learnt.</summary>
    [Fact]
    public void ForgettingEventsOfTheWorkedExample()
    {
        Accuracies(_dynamics, 1, 0, 1, 1, 0, 1);
        Accuracies(_dynamics, 2, 0, 0, 0);
        Accuracies(_dynamics, 3, 0, 1, 1);
        Accuracies(_dynamics, 4, 1, 0, 1, 0);
        var forgetting = _dynamics.ForgettingEvents();
        Assert.Equal([1, double.PositiveInfinity, 0, 2], forgetting.Scores.Values);
        Assert.Equal([3], forgetting.Unforgettable);
        Assert.Equal([2], forgetting.NeverLearnt);
        Assert.Equal(5, _dynamics.ForgettingEvents(neverLearnt: 5).Scores[1]);
        Assert.Contains("never learnt = 5", _dynamics.ForgettingEvents(neverLearnt: 5).Scores.Metadata.Notes, StringComparison.Ordinal);

        // Of the first three presentations example 1 has no event, example 4 one.
        Assert.Equal([0, double.PositiveInfinity, 0, 1], _dynamics.ForgettingEvents(..3).Scores.Values);
        Assert.Throws<InfluenceException>(() => _dynamics.ForgettingEvents(neverLearnt: double.NaN));
    }

    /// <summary>A sampler with replacement draws an example twice: its rows are two presentations, in their order.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AnIdThatIsTwiceInABatchIsPresentedTwice(bool wait)
    {
        using var scope = NewDisposeScope();
        using var dynamics = new TrainingDynamics { AlwaysWait = wait };
        dynamics.Record(
            [7, 8, 7],
            tensor(
                new float[,]
                {
                    { 1, 0 },
                    { 1, 0 },
                    { 0, 1 },
                }
            ),
            tensor([0L, 0L, 0L])
        );
        dynamics.RecordGradientNorms([7, 8, 7], tensor([1f, 2f, 3f]));
        Assert.Equal((1L, 3L, 2), (dynamics.StepCount, dynamics.PresentationCount, dynamics.ExampleCount));
        Assert.Equal([1, 0], dynamics.ForgettingEvents().Scores.Values);
        Assert.Equal([1, 2], dynamics.Grand(..1).Values);
        Assert.Equal([2, 2], dynamics.Grand().Values);
    }

    /// <summary>Neither a step nor its norms are fetched before there are enough of them, or they are asked for.</summary>
    [Fact]
    public void AStepDoesNotWaitForItsNorms()
    {
        using var scope = NewDisposeScope();
        using var dynamics = new TrainingDynamics { AlwaysWait = true, FetchEverySteps = 3 };
        var (logits, labels, norms) = (ones(2, 3), tensor([0L, 1L]), tensor([1f, 2f]));
        var before = LiveTensors.OnThisThread;
        for (var step = 1; step <= 2; step++)
        {
            dynamics.Record([1, 2], logits, labels);
            dynamics.RecordGradientNorms([1, 2], norms);
            Assert.Equal(before + (2 * step), LiveTensors.OnThisThread);
        }

        // The norms belong to the step that they were given for, and to the time at which they were given.
        norms.mul_(100);
        dynamics.Record([1, 2], logits, labels);
        Assert.Equal(before, LiveTensors.OnThisThread);
        Assert.Equal([1, 2], dynamics.Grand().Values);
    }

    /// <summary>p = (0.2, 0.4, 0.9).</summary>
    [Fact]
    public void CartographyOfTheWorkedExample()
    {
        Probabilities(_dynamics, 1, 0.2, 0.4, 0.9);
        var map = _dynamics.Cartography();
        Assert.Equal(0.5, map.Confidence[0], 1e-6);
        Assert.Equal(0.294392, map.Variability[0], 1e-6); // six decimals are given
        Assert.Equal(1, map.Correctness[0]);
        Assert.Equal(1 / 3.0, map.CorrectFraction[0], 1e-15);
        Assert.Equal(2 / 9.0, map.ThresholdCloseness[0], 1e-15);

        // Without the first epoch.
        Assert.Equal(0.65, _dynamics.Cartography(1..).Confidence[0], 1e-6);
        Assert.Equal(0.25, _dynamics.Cartography(1..).Variability[0], 1e-6);
    }

    /// <summary>Logits (2, 1, 0): a margin of +1 for label 0, of -2 for label 2.</summary>
    [Fact]
    public void MarginsOfTheWorkedExample()
    {
        Present(_dynamics, 1, 0, [2, 1, 0], [2, 1, 0], [9, 1, 0]);
        Present(_dynamics, 2, 2, [2, 1, 0]);
        Assert.Equal([1, -2], _dynamics.AreaUnderMargin(..2).Values);
        Assert.Equal([10 / 3.0, -2], _dynamics.AreaUnderMargin().Values);
    }

    [Fact]
    public void ATieIsWrong()
    {
        Present(_dynamics, 1, 0, [1, 1]);
        Assert.Equal(0, _dynamics.Cartography().Correctness[0]);
        Assert.Equal(0.5, _dynamics.Cartography().Confidence[0]);
    }

    [Fact]
    public void GradientNormsAreAveraged()
    {
        _dynamics.RecordGradientNorms([3, 1], tensor([2.0f, 1.0f]));
        _dynamics.RecordGradientNorms([3], tensor([4.0f]));
        var grand = _dynamics.Grand();
        Assert.Equal([1, 3], grand.Ids);
        Assert.Equal([1, 3], grand.Values);
        Assert.Equal([2], _dynamics.Grand(..1).Values.Skip(1));
        Assert.Equal([3], _dynamics.Grand(1..).Ids);
    }

    /// <summary>An example that is fitted to float32's last digit and beyond: loss, EL2N and probability neither vanish nor
    /// round.</summary>
    [Fact]
    public void NothingCancelsForAnExampleThatIsFittedWell()
    {
        foreach (var wait in new[] { false, true })
        {
            using var dynamics = new TrainingDynamics { AlwaysWait = wait };
            dynamics.Record(
                [1, 2],
                tensor(
                    new float[,]
                    {
                        { 40, 0, -3 },
                        { -500, 0, 800 },
                    }
                ),
                tensor([0L, 0L])
            );
            var rest = Math.Exp(-40) * (1 + Math.Exp(-3));
            Assert.Equal(1, dynamics.MeanLoss()[0] / rest, 1e-6);
            Assert.Equal(1, dynamics.El2n()[0] / (Math.Exp(-40) * Math.Sqrt(Math.Pow(1 + Math.Exp(-3), 2) + 1 + Math.Exp(-6))), 1e-6);
            Assert.Equal(1300, dynamics.MeanLoss()[1], 1e-3);
            Assert.Equal(Math.Sqrt(2), dynamics.El2n()[1], 1e-6);
        }
    }

    /// <summary>
    /// Every score against its definition, computed anew from the whole trace of softmaxes by plain code; in a plain loop, by tensor
    /// operations, and kept waiting as on another device.
    /// </summary>
    [Theory]
    [InlineData(3, 0, false)]
    [InlineData(3, 0, true)]
    [InlineData(40, 0, true)]
    [InlineData(5, 4, false)]
    [InlineData(5, 4, true)]
    public void EveryScoreIsItsDefinition(int classes, int positions, bool wait)
    {
        using var dynamics = new TrainingDynamics
        {
            AlwaysWait = wait,
            FetchEverySteps = 7,
            CorrectShare = 0.25,
        };
        var steps = Random(classes + positions, examples: 13, batch: 5, steps: 30, classes, positions);
        foreach (var step in steps)
        {
            step.Record(dynamics);
        }

        foreach (var range in new Range[] { .., ..3, 1.., 2..4, ^1.., ..^1 })
        {
            var oracle = new TraceOracle(steps, range, correctShare: 0.25);
            Same(oracle.Mean(p => p.El2n), dynamics.El2n(range));
            Same(oracle.Mean(p => p.Loss), dynamics.MeanLoss(range));
            Same(oracle.Mean(p => p.Margin), dynamics.AreaUnderMargin(range));
            var map = dynamics.Cartography(range);
            Same(oracle.Mean(p => p.Probability), map.Confidence);
            Same(oracle.Variability(), map.Variability);
            Same(oracle.Count(), map.Correctness);
            Same(oracle.Events(never: 99), dynamics.ForgettingEvents(range, 99).Scores);
        }

        Same(new TraceOracle(steps, ^1.., 0.25).Mean(p => p.Loss), dynamics.LastLoss());
    }

    /// <summary>Many logits on the CPU go by tensor operations and are kept at once: the same scores as by the plain loop.</summary>
    [Fact]
    public void ManyLogitsGoAnotherWayToTheSameScores()
    {
        using var other = new TrainingDynamics();
        var (logits, labels) = (randn(5, 7, 1000, dtype: ScalarType.Float64), randint(0, 1000, [5, 7]));
        _dynamics.Record([0, 1, 2, 3, 4], logits, labels);
        for (var i = 0; i < 5; i++)
        {
            other.Record([i], logits[i].unsqueeze(0), labels[i].unsqueeze(0));
        }

        Assert.Equal((1L, 5L), (_dynamics.StepCount, _dynamics.PresentationCount));
        Func<TrainingDynamics, ExampleScores>[] scores =
        [
            d => d.El2n(),
            d => d.MeanLoss(),
            d => d.AreaUnderMargin(),
            d => d.Cartography().Confidence,
        ];
        foreach (var score in scores)
        {
            Assert.Equal(score(other).Values, score(_dynamics).Values, (a, b) => Math.Abs(a - b) <= 1e-6 * Math.Abs(a)); // float32 at rest
        }
    }

    [Fact]
    public void PositionsThatDoNotCountDoNotMatter()
    {
        var logits = randn(2, 3, 4, dtype: ScalarType.Float64);
        using var short1 = new TrainingDynamics();
        short1.Record(
            [7],
            logits[0].narrow(0, 0, 2).unsqueeze(0),
            tensor(
                new long[,]
                {
                    { 1, 2 },
                }
            )
        );
        foreach (var wait in new[] { false, true })
        {
            using var ignored = new TrainingDynamics { AlwaysWait = wait };
            logits[0, 2] = double.NaN;
            ignored.Record(
                [7, 8],
                logits,
                tensor(
                    new long[,]
                    {
                        { 1, 2, -100 },
                        { -100, -100, -100 },
                    }
                )
            );
            using var masked = new TrainingDynamics { AlwaysWait = wait };
            masked.Record(
                [7, 8],
                logits,
                tensor(
                    new long[,]
                    {
                        { 1, 2, 3 },
                        { 99, 0, 0 },
                    }
                ),
                tensor(
                    new[,]
                    {
                        { true, true, false },
                        { false, false, false },
                    }
                )
            );
            foreach (var dynamics in new[] { ignored, masked })
            {
                Assert.Equal([7], dynamics.El2n().Ids);
                Assert.Equal(1, dynamics.EmptyPresentations);
                Assert.Equal(short1.El2n()[0], dynamics.El2n()[0], 1e-6); // float32 at rest
                Assert.Equal(short1.MeanLoss()[0], dynamics.MeanLoss()[0], 1e-6);
                Assert.Contains("1 presentations without a position that counts", dynamics.ToString(), StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void AnExampleIsCorrectWhereEnoughOfItsPositionsAre()
    {
        var logits = tensor(
            new[,,]
            {
                {
                    { 1.0, 0 },
                    { 1, 0 },
                    { 0, 1 },
                },
            }
        );
        var labels = zeros(1, 3, dtype: ScalarType.Int64);
        foreach (var (share, correct) in new[] { (1.0, 0), (2 / 3.0, 1), (0.5, 1), (0.67, 0) })
        {
            foreach (var wait in new[] { false, true })
            {
                using var dynamics = new TrainingDynamics { CorrectShare = share, AlwaysWait = wait };
                dynamics.Record([1], logits.to_type(ScalarType.Float32), labels);
                Assert.Equal(correct, dynamics.Cartography().Correctness[0]);
            }
        }
    }

    /// <summary>A thousand presentations of a run with several pieces of storage: counts, order and sums survive the seams.</summary>
    [Fact]
    public void LongRuns()
    {
        var labels = zeros(1000, dtype: ScalarType.Int64);
        long[] ids = [.. Enumerable.Range(0, 1000).Select(i => (long)(i * 7919 % 1000))];
        for (var step = 0; step < 40; step++)
        {
            var logits = zeros(1000, 2, dtype: ScalarType.Float64);
            logits.narrow(1, 0, 1).copy_(tensor(ids.Select(id => (double)(id + step)).ToArray()).unsqueeze(1));
            _dynamics.Record(ids, logits, labels);
        }

        Assert.Equal(40_000, _dynamics.PresentationCount);
        Assert.Equal(40, _dynamics.StepCount);
        Assert.Equal(Enumerable.Range(0, 1000).Select(i => (long)i), _dynamics.AreaUnderMargin().Ids);
        Assert.Equal(Enumerable.Range(0, 1000).Select(i => i + 19.5), _dynamics.AreaUnderMargin().Values);
        Assert.Equal(Enumerable.Range(0, 1000).Select(i => i + 35.0), _dynamics.AreaUnderMargin(35..36).Values);
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float16)]
    public void OtherPrecisions(ScalarType dtype)
    {
        var logits = tensor(
            new float[,]
            {
                { 2, 1, 0 },
                { -1, 0.5f, 4 },
            }
        );
        _dynamics.Record([1, 2], logits.to_type(dtype), tensor([0L, 1L]));
        using var waiting = new TrainingDynamics { AlwaysWait = true };
        waiting.Record([1, 2], logits.to_type(dtype), tensor([0L, 1L]));
        Assert.Equal([1, -3.5], _dynamics.AreaUnderMargin().Values);
        Assert.Equal([1, -3.5], waiting.AreaUnderMargin().Values);
        Assert.Equal(_dynamics.El2n()[1], waiting.El2n()[1], 1e-6); // float32
    }

    /// <summary>The training step is as before: the graph is whole and no tensor stays behind.</summary>
    [Fact]
    public void TheLoopIsLeftAlone()
    {
        var w = ones(3, 4, requires_grad: true);
        var x = randn(5, 3);
        using (var inner = NewDisposeScope())
        {
            var logits = x.matmul(w);
            var before = LiveTensors.OnThisThread;
            _dynamics.Record([1, 2, 3, 4, 5], logits, tensor([0L, 1, 2, 3, 0]));
            Assert.Equal(before + 1, LiveTensors.OnThisThread); // the labels, which are this test's
            Assert.True(logits.requires_grad);
            logits.sum().backward();
        }

        Assert.Equal(
            x.sum([0]).unsqueeze(1).expand(3, 4).data<float>().ToArray(),
            w.grad!.data<float>().ToArray(),
            (a, b) => Math.Abs(a - b) < 1e-5
        );
    }

    [Fact]
    public void WhatWaitsIsReleased()
    {
        var before = LiveTensors.OnThisThread;
        using (var inner = NewDisposeScope())
        {
            var dynamics = new TrainingDynamics { AlwaysWait = true, FetchEverySteps = 3 };
            foreach (var step in Random(1, 9, 4, 8, 3))
            {
                step.Record(dynamics);
            }

            Assert.Equal(8, dynamics.StepCount);
            Assert.Equal(before + 2, LiveTensors.OnThisThread);
            dynamics.Dispose();
            Assert.Equal(before, LiveTensors.OnThisThread);
            Assert.Throws<ObjectDisposedException>(() => dynamics.El2n());
            Assert.Throws<ObjectDisposedException>(() => dynamics.Record([1], ones(1, 2), tensor([0L])));
        }
    }

    [Fact]
    public void ASummary()
    {
        Assert.StartsWith(
            "Training dynamics: 0 examples, 0 presentations in 0 steps, 0 classes",
            _dynamics.ToString(),
            StringComparison.Ordinal
        );
        Probabilities(_dynamics, 1, 0.25, 0.75);
        Probabilities(_dynamics, 2, 0.25);
        _dynamics.RecordGradientNorms([1], tensor([3.0f]));
        var text = _dynamics.ToString();
        Assert.StartsWith("Training dynamics: 2 examples, 3 presentations in 3 steps, 2 classes", text, StringComparison.Ordinal);
        var rows = text.Split('\n').Select(row => string.Join(' ', row.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Trim()).ToList();
        Assert.Contains("confidence 0.375 0.25 0.5", rows);
        Assert.Contains("forgetting events (1 never learnt) 0 0 0", rows);
        Assert.Contains("gradient norm 3 3 3", rows);
    }

    private static void Same(IReadOnlyList<(long Id, double Value)> expected, ExampleScores found)
    {
        Assert.Equal(expected.Select(e => e.Id), found.Ids);
        for (var i = 0; i < expected.Count; i++)
        {
            Assert.Equal(expected[i].Value, found[i], 2e-6); // values up to 10, float32 at rest
        }
    }
}
