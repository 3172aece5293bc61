using Influence.Estimators;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

/// <summary>The steps of a run in a recorder's folder: what is kept, what a killed process leaves, and what a replay makes of
/// them.</summary>
public sealed class TrajectoryTests : IDisposable
{
    private const string FileName = "trajectory.steps";
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new(12);

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
        _scope.Dispose();
    }

    /// <summary>The steps are read while the recorder is at it and has closed nothing: what the process handed to the system outlives
    /// it.</summary>
    [Fact]
    public void StepsAreThereAtOnce()
    {
        var optimizer = optim.AdamW(_c.Model.parameters(), 0.02);
        var scheduler = optim.lr_scheduler.StepLR(optimizer, 2, 0.5);
        using var recorder = new CheckpointRecorder(_folder.FullName) { EverySteps = 3 };
        long[][] batches =
        [
            [3, 1, 2],
            [long.MaxValue, long.MinValue, 0],
            [7],
            [3, 3, 8, 9],
        ];
        foreach (var (k, ids) in batches.Index())
        {
            recorder.Step(_c.Model, ids, optimizer);
            scheduler.step();
            var steps = CheckpointRecorder.FindSteps(_folder.FullName);
            Assert.Equal(k + 1, steps.Count);
            Assert.Equal((k + 1, 0.02 / Math.Pow(2, k / 2)), (steps[k].Step, Assert.Single(steps[k].LearningRates)));
            Assert.Equal(ids, steps[k].Ids);
        }

        Assert.Equal(4, recorder.StepCount);
        Assert.Equal([3], recorder.Checkpoints.Select(c => c.Step));
        Assert.Throws<InfluenceException>(() => recorder.Step(_c.Model, [], optimizer));
        Assert.Throws<ArgumentNullException>(() => recorder.Step(_c.Model, [1]));
    }

    /// <summary>256 of 50,000 ids at random: differences of up to 17 bits and a sign, in three bytes.</summary>
    [Fact]
    public void StepsAreSmall()
    {
        var random = new Random(5);
        var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        using var recorder = new CheckpointRecorder(_folder.FullName);
        for (var step = 0; step < 40; step++)
        {
            recorder.Step(_c.Model, [.. Enumerable.Range(0, 256).Select(_ => (long)random.Next(50_000))], optimizer);
        }

        Assert.InRange(new FileInfo(_folder.Path(FileName)).Length, 1, 40 * ((256 * 3) + 20));
    }

    /// <summary>At any byte at which a process may have been killed the steps before it are whole, and a run that goes on has each step
    /// once.</summary>
    [Fact]
    public void WhatWasCutOffIsNoStep()
    {
        var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        using (var recorder = new CheckpointRecorder(_folder.FullName) { EverySteps = 2 })
        {
            for (var step = 1; step <= 5; step++)
            {
                recorder.Step(_c.Model, [step, 10 * step], optimizer);
            }
        }

        var path = _folder.Path(FileName);
        var whole = File.ReadAllBytes(path);
        var found = 0;
        for (var length = 0; length <= whole.Length; length++)
        {
            File.WriteAllBytes(path, whole[..length]);
            var steps = CheckpointRecorder.FindSteps(_folder.FullName);
            Assert.InRange(steps.Count, found, found + 1);
            found = steps.Count;
            Assert.Equal(Enumerable.Range(1, found).Select(s => (long)s), steps.Select(s => s.Step));
        }

        Assert.Equal(5, found);

        // The last checkpoint is of step 4: what came after is done again.
        File.WriteAllBytes(path, whole[..^1]);
        using (var resumed = new CheckpointRecorder(_folder.FullName, resume: true) { EverySteps = 2 })
        {
            Assert.Equal(4, resumed.StepCount);
            Assert.Equal(4, CheckpointRecorder.FindSteps(_folder.FullName).Count);
            resumed.Step(_c.Model, [6], optimizer);
            resumed.Step(_c.Model, [7], optimizer);
        }

        Assert.Equal([1, 2, 3, 4, 6, 7], CheckpointRecorder.FindSteps(_folder.FullName).Select(s => s.Ids[0]));

        // One that begins anew has none of them, and what is damaged in the middle is named.
        var bytes = File.ReadAllBytes(path);
        bytes[25] ^= 0x10;
        File.WriteAllBytes(path, bytes);
        Assert.Contains(
            "is damaged",
            Assert.Throws<InfluenceException>(() => CheckpointRecorder.FindSteps(_folder.FullName)).Message,
            StringComparison.Ordinal
        );
        using var anew = new CheckpointRecorder(_folder.FullName, overwrite: true);
        Assert.Empty(CheckpointRecorder.FindSteps(_folder.FullName));
        anew.Step(_c.Model, [1], optimizer);
        anew.Dispose();
        var thrown = Assert.Throws<InfluenceException>(() => new CheckpointRecorder(_folder.FullName));
        Assert.Contains("1 steps of a run without a checkpoint", thrown.Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => CheckpointRecorder.FindSteps(_folder.Path("none")));
    }

    /// <summary>The replay of what was recorded ends in the trained weights, and its scores are those of a run written by hand.</summary>
    [Theory]
    [InlineData("AdamW")]
    [InlineData("Adam")]
    [InlineData("SGD")]
    public void ARecordedRunIsReplayed(string kind)
    {
        optim.Optimizer optimizer = kind switch
        {
            "AdamW" => optim.AdamW(_c.Model.parameters(), 0.02, beta2: 0.99, weight_decay: 0.1),
            "Adam" => optim.Adam(_c.Model.parameters(), 0.02, beta1: 0.8),
            _ => optim.SGD(_c.Model.parameters(), 0.1, momentum: 0.9, weight_decay: 0.01),
        };
        var schedule = optim.lr_scheduler.StepLR(optimizer, 3, 0.5);
        var random = new Random(4);
        var batches = new List<IReadOnlyList<long>>();
        using (var recorder = new CheckpointRecorder(_folder.FullName) { EverySteps = 4 })
        {
            recorder.Save(_c.Model, optimizer);
            for (var step = 0; step < 8; step++)
            {
                var ids = Enumerable.Range(0, 12).Select(i => (long)i).ToArray();
                random.Shuffle(ids);
                ids = ids[..5];
                batches.Add(ids);
                optimizer.zero_grad();
                _c.Loss(_c.Train.Gather([.. ids.Select(i => (int)i)])).mean().backward();
                optimizer.step();
                recorder.Step(_c.Model, ids, optimizer);
                schedule.step();
            }
        }

        var trained = Flat();
        CheckpointRecorder.Find(_folder.FullName)[0].LoadInto(_c.Model);
        var run = Magic.FromRun(_folder.FullName);
        Assert.Equal(batches, run.Batches);
        var replayed = run.FinalWeights(_c.Task(), _c.Train);
        Assert.Equal(0, trained.Zip(replayed, (x, y) => Math.Abs(x - y)).Max(), 1e-12);
        double rate = kind == "SGD" ? 0.1 : 0.02;
        var byHand = new Magic
        {
            Batches = batches,
            LearningRates = [.. Enumerable.Range(0, 8).Select(k => rate / Math.Pow(2, k / 3))],
            Update = kind switch
            {
                "AdamW" => new Magic.AdamW { Beta2 = 0.99, WeightDecay = 0.1 },
                "Adam" => new Magic.AdamW { Beta1 = 0.8, WeightDecay = 0 },
                _ => new Magic.Sgd { Momentum = 0.9, WeightDecay = 0.01 },
            },
        };
        using var expected = byHand.Score(_c.Task(), _c.Train, _c.Queries);
        using var scores = run.Score(_c.Task(), _c.Train, _c.Queries);
        Assert.Equal(0, (expected.Values - scores.Values).abs().max().item<double>(), 1e-12);
    }

    /// <summary>The optimizer held the last layer; a replay would train the others too.</summary>
    [Fact]
    public void AModelOfWhichAPartWasTrainedIsRefusedUntilTheRestIsFrozen()
    {
        var parameters = _c.Model.named_parameters().ToList();
        var last = parameters.TakeLast(2).ToList();
        var optimizer = optim.SGD(last.Select(p => p.parameter), 0.1);
        using (var recorder = new CheckpointRecorder(_folder.FullName))
        {
            recorder.Save(_c.Model, optimizer);
            _c.Loss(_c.Train.Gather([0, 1])).mean().backward();
            optimizer.step();
            recorder.Step(_c.Model, [0, 1], optimizer);
            recorder.Save(_c.Model, optimizer);
        }

        var trained = Flat();
        CheckpointRecorder.Find(_folder.FullName).Single(c => c.Step == 0).LoadInto(_c.Model);
        var run = Magic.FromRun(_folder.FullName);
        var error = Assert.Throws<InfluenceException>(() => run.FinalWeights(_c.Task(), _c.Train));
        Assert.Contains("did not hold " + parameters[0].name, error.Message, StringComparison.Ordinal);

        foreach (var (_, parameter) in parameters.Except(last))
        {
            parameter.requires_grad = false;
        }

        var replayed = run.FinalWeights(_c.Task(), _c.Train);
        Assert.Equal(0, trained.TakeLast(replayed.Length).Zip(replayed, (x, y) => Math.Abs(x - y)).Max(), 1e-12);
    }

    /// <summary>A length that is damaged far before the last checkpoint is no cut-off, and what follows it is not thrown away.</summary>
    [Fact]
    public void ADamagedLengthIsNoEnd()
    {
        var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        using (var recorder = new CheckpointRecorder(_folder.FullName) { EverySteps = 6 })
        {
            for (var step = 0; step < 6; step++)
            {
                recorder.Step(_c.Model, [1, 2, 3], optimizer);
            }
        }

        var bytes = File.ReadAllBytes(_folder.Path(FileName));
        bytes["influence steps 1\n".Length] = 100;
        File.WriteAllBytes(_folder.Path(FileName), bytes);
        var error = Assert.Throws<InfluenceException>(() => new CheckpointRecorder(_folder.FullName, resume: true));
        Assert.Contains("is damaged", error.Message, StringComparison.Ordinal);
        Assert.Equal(bytes, File.ReadAllBytes(_folder.Path(FileName)));

        // The folder is free again.
        File.Delete(_folder.Path(FileName));
        using var resumed = new CheckpointRecorder(_folder.FullName, resume: true);
        resumed.Step(_c.Model, [4], optimizer);
        Assert.Equal([7], CheckpointRecorder.FindSteps(_folder.FullName).Select(s => s.Step));
    }

    [Fact]
    public void WhatCannotBeReplayedIsRefused()
    {
        var decayed = optim.Adam(_c.Model.parameters(), 0.02, weight_decay: 0.1);
        Refused("as of another folder", "no steps of a run", recorder => recorder.Step(_c.Model, decayed));
        Refused("coupled decay", "Adam without weight decay", recorder => recorder.Step(_c.Model, [1], decayed));
        Refused(
            "a gap",
            "after 1 steps",
            recorder =>
            {
                recorder.Step(_c.Model, [1], decayed);
                recorder.Step(_c.Model, decayed);
                recorder.Step(_c.Model, [2], decayed);
            }
        );
        Refused(
            "Nesterov",
            "SGD, momentum 0.9, Nesterov",
            recorder => recorder.Step(_c.Model, [1], optim.SGD(_c.Model.parameters(), 0.1, momentum: 0.9, nesterov: true))
        );
        var (slow, fast) = (optim.SGD(_c.Hidden.parameters(), 0.1), optim.SGD(_c.Head.parameters(), 0.2));
        Refused("two rates", "0.1, 0.2", recorder => recorder.Step(_c.Model, [1], slow, fast));
        Refused("no checkpoint", "names its optimizer", recorder => recorder.Step(_c.Model, [1], slow), every: 5);

        void Refused(string folder, string told, Action<CheckpointRecorder> record, int every = 1)
        {
            using (var recorder = new CheckpointRecorder(_folder.Path(folder)) { EverySteps = every })
            {
                record(recorder);
            }

            var thrown = Assert.Throws<InfluenceException>(() => Magic.FromRun(_folder.Path(folder)));
            Assert.Contains(told, thrown.Message, StringComparison.Ordinal);
        }
    }

    private double[] Flat() => cat([.. _c.Model.parameters().Select(p => p.detach().reshape(-1))], 0).data<double>().ToArray();
}
