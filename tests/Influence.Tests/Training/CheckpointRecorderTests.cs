using Influence.Estimators;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

public sealed class CheckpointRecorderTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
        _scope.Dispose();
    }

    [Fact]
    public void ACheckpointEverySoManySteps()
    {
        using var recorder = new CheckpointRecorder(_folder.Path("run")) { EverySteps = 3 };
        var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        var scheduler = optim.lr_scheduler.StepLR(optimizer, 4, 0.5);
        var weights = new List<double>();
        for (var step = 1; step <= 10; step++)
        {
            TrainStep(optimizer);
            recorder.Step(_c.Model, optimizer);
            scheduler.step();
            if (step % 3 == 0)
            {
                weights.Add(_c.Head.weight[0, 0].item<double>());
            }
        }

        Assert.Equal(10, recorder.StepCount);
        Assert.Equal([3, 6, 9], recorder.Checkpoints.Select(c => c.Step));
        Assert.Equal([0.1, 0.05, 0.025], recorder.Checkpoints.Select(c => c.LearningRate), (a, b) => Math.Abs(a - b) < 1e-15);
        foreach (var (checkpoint, weight) in recorder.Checkpoints.Zip(weights))
        {
            checkpoint.LoadInto(_c.Model);
            Assert.Equal(weight, _c.Head.weight[0, 0].item<double>());
        }
    }

    [Fact]
    public void OverwriteBeginsAnewAndLeavesOtherFilesAlone()
    {
        var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        using (var first = new CheckpointRecorder(_folder.FullName) { EverySteps = 1 })
        {
            first.Step(_c.Model, optimizer);
            first.Step(_c.Model, optimizer);
        }

        File.WriteAllText(_folder.Path("notes.txt"), "mine");
        using var again = new CheckpointRecorder(_folder.FullName, overwrite: true) { EverySteps = 1 };

        Assert.Empty(again.Checkpoints);
        Assert.Equal(0, again.StepCount);
        again.Step(_c.Model, optimizer);
        Assert.Equal([1], CheckpointRecorder.Find(_folder.FullName).Select(c => c.Step));
        Assert.Equal("mine", File.ReadAllText(_folder.Path("notes.txt")));
    }

    [Fact]
    public void ARunIsEitherGoneOnWithOrBegunAnew()
    {
        var thrown = Assert.Throws<InfluenceException>(() => new CheckpointRecorder(_folder.FullName, resume: true, overwrite: true));

        Assert.Contains("not both", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ALastSaveAtTheSameStepIsNotDoubled()
    {
        var log = new Messages();
        using var recorder = new CheckpointRecorder(_folder.FullName) { EverySteps = 2, Logger = log };
        var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        recorder.Step(_c.Model, optimizer);
        recorder.Step(_c.Model, optimizer);
        recorder.Save(_c.Model, optimizer);
        recorder.Step(_c.Model, optimizer);
        recorder.Save(_c.Model, optimizer);
        recorder.Save(_c.Model, optimizer);

        Assert.Equal([2, 3], recorder.Checkpoints.Select(c => c.Step));
        Assert.Equal(["step-000000002.safetensors", "step-000000003.safetensors"], _folder.Files.Where(f => f != "recorder.lock"));
        Assert.Equal(2, log.All.Count);
        Assert.EndsWith("step-000000003.safetensors at step 3", log.All[1], StringComparison.Ordinal);
    }

    [Fact]
    public void ALaterProcessFindsThem()
    {
        using (var recorder = new CheckpointRecorder(_folder.FullName) { EverySteps = 1 })
        {
            var optimizer = optim.SGD(_c.Model.parameters(), 0.125);
            for (var step = 0; step < 12; step++)
            {
                TrainStep(optimizer);
                recorder.Step(_c.Model, optimizer);
            }
        }

        var found = CheckpointRecorder.Find(_folder.FullName);

        Assert.Equal(Enumerable.Range(1, 12).Select(i => (long)i), found.Select(c => c.Step));
        Assert.All(found, c => Assert.Equal(0.125, c.LearningRate));
        using var scores = new TracIn { Checkpoints = found }.Score(_c.Task(), _c.Train, _c.Queries);
        Assert.StartsWith("step 1: 0.125; step 2: 0.125", scores.Metadata.Checkpoints, StringComparison.Ordinal);
    }

    /// <summary>What a process that was killed while writing leaves, and other files, are not checkpoints.</summary>
    [Fact]
    public void FilesThatAreNotCheckpointsArePassedOver()
    {
        var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        using (var recorder = new CheckpointRecorder(_folder.FullName) { EverySteps = 1 })
        {
            recorder.Step(_c.Model, optimizer);
        }

        var half = File.ReadAllBytes(_folder.Path("step-000000001.safetensors"))[..100];
        File.WriteAllBytes(_folder.Path("step-000000002.safetensors.4711.partial"), half);
        File.WriteAllText(_folder.Path("notes.txt"), "lr 0.1");

        Assert.Equal([1], CheckpointRecorder.Find(_folder.FullName).Select(c => c.Step));
        using var resumed = new CheckpointRecorder(_folder.FullName, resume: true);
        Assert.Equal(1, resumed.StepCount);
    }

    [Fact]
    public void AnOldRunIsNotMixedWithANewOne()
    {
        var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        using (var first = new CheckpointRecorder(_folder.FullName) { EverySteps = 5 })
        {
            for (var step = 0; step < 11; step++)
            {
                first.Step(_c.Model, optimizer);
            }
        }

        var thrown = Assert.Throws<InfluenceException>(() => new CheckpointRecorder(_folder.FullName));
        Assert.Contains("2 checkpoints (the last at step 10)", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("resume: true", thrown.Message, StringComparison.Ordinal);

        using var resumed = new CheckpointRecorder(_folder.FullName, resume: true) { EverySteps = 5 };
        Assert.Equal(10, resumed.StepCount);
        for (var step = 0; step < 5; step++)
        {
            resumed.Step(_c.Model, optimizer);
        }

        Assert.Equal([5, 10, 15], resumed.Checkpoints.Select(c => c.Step));
        Assert.Equal([5, 10, 15], CheckpointRecorder.Find(_folder.FullName).Select(c => c.Step));
    }

    [Fact]
    public void ATruncatedCheckpointIsNamed()
    {
        var path = _folder.Path("step-000000001.safetensors");
        Checkpoint.Save(path, _c.Model, 0.1, 1);
        File.WriteAllBytes(path, File.ReadAllBytes(path)[..^1]);
        var thrown = Assert.Throws<InfluenceException>(() => CheckpointRecorder.Find(_folder.FullName));
        Assert.Contains(path, thrown.Message, StringComparison.Ordinal);
        Assert.Contains("truncated", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AFolderThatCannotBeWrittenIsToldAtOnce()
    {
        File.WriteAllText(_folder.Path("file"), "not a folder");
        foreach (var folder in new[] { _folder.Path("file/run"), _folder.Path("file"), "/proc/influence-tests" })
        {
            var thrown = Assert.Throws<InfluenceException>(() => new CheckpointRecorder(folder));
            Assert.Contains(folder, thrown.Message, StringComparison.Ordinal);
        }

        Assert.Throws<InfluenceException>(() => CheckpointRecorder.Find(_folder.Path("none")));
        Assert.Throws<InfluenceException>(() => new CheckpointRecorder(_folder.FullName) { EverySteps = 0 });
    }

    [Fact]
    public void TwoRecordersDoNotWriteToOneFolder()
    {
        var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        using (var first = new CheckpointRecorder(_folder.FullName) { EverySteps = 1 })
        {
            first.Step(_c.Model, optimizer);
            foreach (var resume in new[] { false, true })
            {
                var thrown = Assert.Throws<InfluenceException>(() => new CheckpointRecorder(_folder.FullName, resume));
                Assert.Contains("Another recorder", thrown.Message, StringComparison.Ordinal);
            }

            // One that no lock keeps away, as of another machine.
            Checkpoint.Save(_folder.Path("step-000000002.safetensors"), _c.Model, 0.5, 2);
            Assert.Contains(
                "another recorder",
                Assert.Throws<InfluenceException>(() => first.Step(_c.Model, optimizer)).Message,
                StringComparison.Ordinal
            );
            Assert.Equal(0.5, Checkpoint.FromFile(_folder.Path("step-000000002.safetensors")).LearningRate);
        }

        Assert.Equal(["step-000000001.safetensors", "step-000000002.safetensors"], _folder.Files);
        using var resumed = new CheckpointRecorder(_folder.FullName, resume: true);
        Assert.Equal(2, resumed.StepCount);
        resumed.Dispose();
        Assert.Throws<ObjectDisposedException>(() => resumed.Step(_c.Model, optimizer));
    }

    /// <summary>A disk that fills up in the middle: an error, and the earlier checkpoints stay, on disk and in the list.</summary>
    [Fact]
    public void ACheckpointThatCannotBeWritten()
    {
        using var recorder = new CheckpointRecorder(_folder.Path("run")) { EverySteps = 1 };
        var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        recorder.Step(_c.Model, optimizer);
        Directory.CreateDirectory(_folder.Path("run/step-000000002.safetensors"));

        Assert.Throws<InfluenceException>(() => recorder.Step(_c.Model, optimizer));

        Assert.Equal([1], recorder.Checkpoints.Select(c => c.Step));
        Assert.Equal([1], CheckpointRecorder.Find(_folder.Path("run")).Select(c => c.Step));
    }

    [Fact]
    public void AModelThatIsRecordedKeepsNothing()
    {
        using var recorder = new CheckpointRecorder(_folder.FullName) { EverySteps = 1 };
        var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        recorder.Step(_c.Model, optimizer);
        var before = LiveTensors.OnThisThread;
        recorder.Step(_c.Model, optimizer);
        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    private void TrainStep(optim.Optimizer optimizer)
    {
        optimizer.zero_grad();
        _c.PlainLoss([_c.X, _c.Y]).mean().backward();
        optimizer.step();
    }

    [Fact]
    public void CheckpointsThatWouldGiveNoScoresAreRefused()
    {
        var thrown = Assert.Throws<InfluenceException>(() => new TracIn { Checkpoints = [] });
        Assert.Contains("recorder.Save", thrown.Message, StringComparison.Ordinal);
        var still = Checkpoint.Save(_folder.Path("still.safetensors"), _c.Model, learningRate: 0);
        thrown = Assert.Throws<InfluenceException>(() => new TracIn { Checkpoints = [still] });
        Assert.Contains("learning rate of zero", thrown.Message, StringComparison.Ordinal);
    }

    /// <summary>A recorder's list grows; an estimator that was made from it does not.</summary>
    [Fact]
    public void AnEstimatorKeepsTheCheckpointsThatItWasGiven()
    {
        var list = new List<Checkpoint> { Checkpoint.Save(_folder.Path("one.safetensors"), _c.Model, 0.1) };
        var tracIn = new TracIn { Checkpoints = list };
        list.Add(list[0]);
        Assert.Single(tracIn.Checkpoints!);
    }
}
