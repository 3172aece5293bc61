using Influence.Formats;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

public sealed class TrainingDynamicsFileTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();
    private readonly List<Traces.Step> _steps = Traces.Random(seed: 3, examples: 12, batch: 5, steps: 20, classes: 3);

    private string File1 => _folder.Path("dynamics.safetensors");

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    /// <summary>In the middle of an epoch, and after one step; with what still waits on a device.</summary>
    [Theory]
    [InlineData(7, false)]
    [InlineData(1, false)]
    [InlineData(13, true)]
    public void ARunThatWasInterruptedScoresTheSameBitForBit(int after, bool wait)
    {
        using var whole = new TrainingDynamics
        {
            AlwaysWait = wait,
            CorrectShare = 0.5,
            IgnoredLabel = -7,
        };
        using (
            var first = new TrainingDynamics
            {
                AlwaysWait = wait,
                CorrectShare = 0.5,
                IgnoredLabel = -7,
            }
        )
        {
            Run(whole, 0, after);
            Run(first, 0, after);
            first.Save(File1);
        }

        using var second = TrainingDynamics.Load(File1);
        Assert.Equal((0.5, -7L, 3L, (long)after), (second.CorrectShare, second.IgnoredLabel, second.Classes, second.StepCount));
        Assert.Equal(whole.ToString(), second.ToString());
        using var third = Reloaded(second);
        Run(whole, after, 20);
        Run(third, after, 20);
        Same(whole, third);
    }

    /// <summary>The training goes on from a checkpoint that is older than the file: later steps are left out and done again.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(4)]
    [InlineData(15)]
    public void ARunGoesOnFromAnEarlierStep(int step)
    {
        using var whole = new TrainingDynamics();
        Run(whole, 0, 20);
        using (var first = new TrainingDynamics())
        {
            Run(first, 0, 15);
            first.Save(File1);
        }

        using var second = TrainingDynamics.Load(File1, step);
        Assert.Equal(step, second.StepCount);
        Run(second, step, 20);
        Same(whole, second);
        Assert.Contains(
            "15 steps",
            Assert.Throws<InfluenceException>(() => TrainingDynamics.Load(File1, 16)).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>Two batches for each step of the optimizer: the recorder's own count says where the checkpoint was.</summary>
    [Fact]
    public void ARunWithGradientAccumulationGoesOnFromTheCountThatWasKept()
    {
        using var whole = new TrainingDynamics();
        Run(whole, 0, 20);
        long atCheckpoint;
        using (var first = new TrainingDynamics())
        {
            Run(first, 0, 2 * 3);
            atCheckpoint = first.StepCount;
            Run(first, 2 * 3, 2 * 5);
            first.Save(File1);
        }

        using var second = TrainingDynamics.Load(File1, atCheckpoint);
        Run(second, 2 * 3, 20);
        Same(whole, second);
    }

    [Fact]
    public void SettingsComeBack()
    {
        using var first = new TrainingDynamics { FetchEverySteps = 7 };
        first.Save(File1);
        using var second = TrainingDynamics.Load(File1);
        Assert.Equal(7, second.FetchEverySteps);
    }

    [Fact]
    public void NothingRecordedYet()
    {
        using var empty = new TrainingDynamics();
        empty.Save(File1);
        using var loaded = TrainingDynamics.Load(File1);
        Assert.Equal((0L, 0, 0L), (loaded.StepCount, loaded.ExampleCount, loaded.Classes));
        Run(loaded, 0, 2);
        Assert.Equal(10, loaded.PresentationCount);
    }

    [Fact]
    public void EmptyPresentationsAreCountedOnByStep()
    {
        using var first = new TrainingDynamics();
        first.Record([1, 2], ones(2, 3), tensor([0L, -100L]));
        first.Record([1, 3], ones(2, 3), tensor([-100L, -100L]));
        first.Save(File1);
        using var all = TrainingDynamics.Load(File1);
        using var one = TrainingDynamics.Load(File1, 1);
        Assert.Equal((3L, 1L), (all.EmptyPresentations, one.EmptyPresentations));
        Assert.Equal(1, one.ExampleCount);
    }

    [Fact]
    public void LaterStatesOfARunReplaceEarlierOnes()
    {
        using var first = new TrainingDynamics();
        Run(first, 0, 2);
        first.Save(File1);
        Run(first, 2, 3);
        first.Save(File1);
        using var resumed = TrainingDynamics.Load(File1);
        Assert.Equal(3, resumed.StepCount);
        Run(resumed, 3, 4);
        resumed.Save(File1);
        Assert.Equal(["dynamics.safetensors"], _folder.Files);
    }

    [Fact]
    public void TwoRunsDoNotMix()
    {
        using var first = new TrainingDynamics();
        Run(first, 0, 2);
        first.Save(File1);
        using var other = new TrainingDynamics();
        Assert.Contains(
            "TrainingDynamics.Load(path)",
            Assert.Throws<InfluenceException>(() => other.Save(File1)).Message,
            StringComparison.Ordinal
        );

        // The file's run had three classes.
        using var resumed = TrainingDynamics.Load(File1);
        var message = Assert.Throws<InfluenceException>(() => resumed.Record([1], ones(1, 10), tensor([0L]))).Message;
        Assert.Contains("10 classes; the steps before had 3", message, StringComparison.Ordinal);
        Assert.Equal(2, resumed.StepCount);
    }

    [Fact]
    public void FilesThatAreSomethingElse()
    {
        Assert.Throws<InfluenceException>(() => TrainingDynamics.Load(File1));
        Safetensors.Save(File1, [("scores", ones(3))], new Dictionary<string, string>());
        Assert.Contains(
            "was not written by",
            Assert.Throws<InfluenceException>(() => TrainingDynamics.Load(File1)).Message,
            StringComparison.Ordinal
        );
        using var dynamics = new TrainingDynamics();
        Assert.Throws<InfluenceException>(() => dynamics.Save(_folder.Path("dynamics.npy")));
        Assert.Throws<InfluenceException>(() => dynamics.Save(File1));
    }

    [Theory]
    [InlineData("ids", 0)]
    [InlineData("loss", 0)]
    [InlineData("step_ends", 1)]
    [InlineData("example", 2)]
    [InlineData("norm", 3)]
    [InlineData("probability", 4)]
    [InlineData("el2n", 5)]
    [InlineData("ids", 6)]
    public void DamagedFiles(string name, int damage)
    {
        using var dynamics = new TrainingDynamics();
        Run(dynamics, 0, 3);
        dynamics.Save(File1);
        var (tensors, metadata) = Safetensors.Load(File1);
        tensors[name] = damage switch
        {
            0 => tensors[name].narrow(0, 0, 3),
            1 => tensors[name] + 1,
            2 => tensors[name] - 1,
            4 => tensors[name] * double.NaN,
            5 => -tensors[name] - 1,
            6 => tensors[name] * 0,
            _ => tensors[name].to_type(ScalarType.Float64),
        };
        Safetensors.Save(File1, [.. tensors.Select(t => (t.Key, t.Value))], metadata);
        Assert.Contains(
            $"\"{name}\"",
            Assert.Throws<InfluenceException>(() => TrainingDynamics.Load(File1)).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>The room for counts is made by the highest number of an example: one of half a billion would take gigabytes.</summary>
    [Theory]
    [InlineData("example")]
    [InlineData("norm_example")]
    public void AnExampleBeyondTheIdsIsRefusedAtOnce(string name)
    {
        using var dynamics = new TrainingDynamics();
        Run(dynamics, 0, 3);
        dynamics.Save(File1);
        var (tensors, metadata) = Safetensors.Load(File1);
        tensors[name] = tensors[name].clone();
        tensors[name][0] = tensor(500_000_000);
        Safetensors.Save(File1, [.. tensors.Select(t => (t.Key, t.Value))], metadata);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Contains("\"ids\"", Assert.Throws<InfluenceException>(() => TrainingDynamics.Load(File1)).Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4 << 20);
    }

    [Theory]
    [InlineData("classes", "-1")]
    [InlineData("classes", "three")]
    [InlineData("correct_share", "NaN")]
    [InlineData("correct_share", "0")]
    [InlineData("fetch_every_steps", "99999999999")]
    [InlineData("run", "")]
    [InlineData("run", null)]
    [InlineData("classes", null)]
    public void SettingsThatNoRunHas(string key, string? value)
    {
        using var dynamics = new TrainingDynamics();
        Run(dynamics, 0, 3);
        dynamics.Save(File1);
        var (tensors, metadata) = Safetensors.Load(File1);
        metadata.Remove(key);
        if (value is not null)
        {
            metadata[key] = value;
        }

        Safetensors.Save(File1, [.. tensors.Select(t => (t.Key, t.Value))], metadata);
        Assert.Contains(
            $"\"{key}\"",
            Assert.Throws<InfluenceException>(() => TrainingDynamics.Load(File1)).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>A file of an earlier version has no checksum.</summary>
    [Fact]
    public void AnUncheckedRunSaysSo()
    {
        using var dynamics = new TrainingDynamics();
        Run(dynamics, 0, 3);
        dynamics.Save(File1);
        Unverified.Strip(File1);
        using var loaded = TrainingDynamics.Load(File1);
        Assert.StartsWith("unverified", loaded.El2n().Metadata.Integrity, StringComparison.Ordinal);
        Assert.Empty(dynamics.El2n().Metadata.Integrity);
    }

    [Fact]
    public void NoTensorStaysBehind()
    {
        var before = LiveTensors.OnThisThread;
        using var dynamics = new TrainingDynamics();
        Run(dynamics, 0, 3);
        dynamics.Save(File1);
        using var loaded = TrainingDynamics.Load(File1);
        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    private TrainingDynamics Reloaded(TrainingDynamics dynamics)
    {
        dynamics.Save(File1);
        return TrainingDynamics.Load(File1);
    }

    private void Run(TrainingDynamics dynamics, int from, int to)
    {
        foreach (var step in _steps.Take(from..to))
        {
            step.Record(dynamics);
            using var scope = NewDisposeScope();
            dynamics.RecordGradientNorms(step.Ids, tensor([.. step.Logits.Select(l => Math.Abs(l[0][0]))]));
        }
    }

    private static void Same(TrainingDynamics expected, TrainingDynamics found)
    {
        Assert.Equal(expected.ToString(), found.ToString());
        Func<TrainingDynamics, ExampleScores>[] scores =
        [
            d => d.El2n(..2),
            d => d.MeanLoss(),
            d => d.LastLoss(),
            d => d.AreaUnderMargin(1..),
            d => d.Cartography().Variability,
            d => d.Cartography(1..).Confidence,
            d => d.ForgettingEvents(neverLearnt: 9).Scores,
            d => d.Grand(),
        ];
        foreach (var score in scores)
        {
            Assert.Equal(score(expected).Ids, score(found).Ids);
            Assert.Equal(score(expected).Values, score(found).Values); // bit for bit
            Assert.Equal(score(expected).Metadata, score(found).Metadata);
        }
    }
}
