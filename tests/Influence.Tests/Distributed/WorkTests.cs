using System.Text.Json;
using Influence.Curvature;
using Influence.Distributed;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Formats;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Distributed;

/// <summary>Where a process stands among others, and which folders it refuses.</summary>
public sealed class WorkTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Variables as Slurm, srun, Kubernetes and torchrun set them.</summary>
    [Theory]
    [InlineData("", 0, 1, 0)]
    [InlineData("RANK=3 WORLD_SIZE=8 LOCAL_RANK=1", 3, 8, 1)]
    [InlineData(
        "SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=3 SLURM_ARRAY_TASK_STEP=1 "
            + "SLURM_PROCID=0 SLURM_NTASKS=1 SLURM_LOCALID=0",
        2,
        4,
        0
    )]
    [InlineData("SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_STEP=2", 3, 4, 0)]
    [InlineData(
        "SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=2 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=3 SLURM_PROCID=2 SLURM_LOCALID=2",
        5,
        6,
        2
    )]
    [InlineData("SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=1 SLURM_LOCALID=1", 1, 4, 1)]
    [InlineData("SLURM_NTASKS=4 SLURM_PROCID=0", 0, 1, 0)]
    [InlineData("JOB_COMPLETION_INDEX=2 WORLD_SIZE=5", 2, 5, 0)]
    [InlineData("RANK=0 WORLD_SIZE=2 SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=3", 0, 2, 0)]
    public void ThePlaceIsWhatTheStarterSays(string variables, int rank, int count, int local)
    {
        var work = From(variables);
        Assert.Equal((rank, count, local), (work.Rank, work.Count, work.LocalRank));
        Assert.Equal(DeviceType.CPU, (cuda.is_available() ? CPU : work.Device).type);
    }

    [Theory]
    [InlineData("RANK=3", "WORLD_SIZE is missing")]
    [InlineData("RANK=3 WORLD_SIZE=3", "ranks are 0 to 2")]
    [InlineData("RANK=x WORLD_SIZE=3", "RANK is \"x\"")]
    [InlineData("RANK=-1 WORLD_SIZE=3", "RANK is \"-1\"")]
    [InlineData("JOB_COMPLETION_INDEX=0", "spec.completions")]
    [InlineData("SLURM_ARRAY_TASK_ID=9 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_STEP=1", "--array=0-2")]
    [InlineData("SLURM_ARRAY_TASK_ID=0", "SLURM_ARRAY_TASK_COUNT is missing")]
    public void APlaceThatCannotBeIsRefused(string variables, string said) =>
        Assert.Contains(said, Assert.Throws<InfluenceException>(() => From(variables)).Message, StringComparison.Ordinal);

    /// <summary>Weights, examples, settings, units, the loss, and what is done.</summary>
    [Fact]
    public void AFolderOfAnotherTaskIsRefusedByName()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(12);
        var options = new Ekfac.Options { Work = new Work(_folder.Path("fit")) { ExamplesPerUnit = 4 } };
        Ekfac.Fit(c.Task(), c.Train, options).Dispose();
        Refused("the call (the folder's: EK-FAC fit; now: K-FAC fit)", () => Kfac.Fit(c.Task(), c.Train, options));
        Refused(
            "ExamplesPerUnit (the folder's: 4; now: 5)",
            () => Ekfac.Fit(c.Task(), c.Train, options with { Work = options.Work with { ExamplesPerUnit = 5 } })
        );
        Refused("Seed (the folder's: 0; now: 1)", () => Ekfac.Fit(c.Task(), c.Train, options with { Seed = 1 }));
        Refused("the labels", () => Ekfac.Fit(c.Task(), c.Train, options with { Fisher = Fisher.Empirical }));
        Refused(
            "the training examples (the folder's: 12, ids",
            () => Ekfac.Fit(c.Task(), c.Train with { Ids = [.. Enumerable.Range(5, 12).Select(i => (long)i)] }, options)
        );
        Refused("the training examples", () => Ekfac.Fit(c.Task(), Examples.FromTensors(("x", c.X + 1), ("y", c.Y)), options));
        Refused("the first example's loss", () => Ekfac.Fit(c.Task(b => c.Loss(b) * 2), c.Train, options));
        Refused(
            "the weights, or the layers",
            () =>
                Ekfac.Fit(
                    c.Task() with
                    {
                        Layers = LayerSelection.Where(n => n.StartsWith("head", StringComparison.Ordinal)),
                    },
                    c.Train,
                    options
                )
        );

        using var fit = Ekfac.Fit(c.Task(), c.Train, options);
        var influence = new InfluenceFunction(fit) { Work = new Work(_folder.Path("scores")) };
        influence.Score(c.Task(), c.Train, c.Queries).Dispose();
        Refused("Damping", () => (influence with { Damping = Damping.Absolute(1) }).Score(c.Task(), c.Train, c.Queries));
        Refused("the queries", () => influence.Score(c.Task(), c.Train, c.Train));
        Refused(
            "the curvature",
            () =>
                new InfluenceFunction(Ekfac.Fit(c.Task(), c.Train, new Ekfac.Options { Seed = 7 })) { Work = influence.Work }.Score(
                    c.Task(),
                    c.Train,
                    c.Queries
                )
        );
        Refused("the call", () => influence.SelfInfluence(c.Task(), c.Train));

        using (no_grad())
        {
            c.Head.weight!.mul_(1.5);
        }

        Refused("the weights, or the layers", () => Ekfac.Fit(c.Task(), c.Train, options));
    }

    [Fact]
    public void IdsThatRepeatAreRefused()
    {
        using var c = new Classifier(12);
        var train = c.Train with { Ids = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0] };
        Refused("ids that repeat: 0", () => Ekfac.Fit(c.Task(), train, new Ekfac.Options { Work = new Work(_folder.Path("fit")) }));
        Assert.False(Directory.Exists(_folder.Path("fit")));
    }

    /// <summary>A unit's file that is cut short, another unit's, or of another folder is named; without it the call ends as ever.</summary>
    [Fact]
    public void ADamagedUnitIsNamed()
    {
        using var c = new Classifier(12);
        using var fit = Ekfac.Fit(c.Task(), c.Train);
        var influence = new InfluenceFunction(fit) { Work = new Work(_folder.Path("scores")) { ExamplesPerUnit = 4 } };
        using var expected = influence.Score(c.Task(), c.Train, c.Queries);
        var file = Path.Combine(_folder.Path("scores"), "scores-000001.safetensors");
        var good = File.ReadAllBytes(file);
        byte[] changed = [.. good];
        changed[^3] ^= 1;
        foreach (
            var bad in new[] { good[..^5], [], changed, File.ReadAllBytes(file.Replace("000001", "000002", StringComparison.Ordinal)) }
        )
        {
            File.WriteAllBytes(file, bad);
            Refused("scores-000001.safetensors", () => influence.Score(c.Task(), c.Train, c.Queries));
        }

        File.Delete(file);
        using var again = influence.Score(c.Task(), c.Train, c.Queries);
        Assert.Equal(good, File.ReadAllBytes(file));
        Assert.True(again.Values.equal(expected.Values).all().item<bool>());
        File.WriteAllText(Path.Combine(_folder.Path("scores"), WorkManifest.FileName), "{\"format\": \"influence.work/2\"}");
        Refused("of another version", () => influence.Score(c.Task(), c.Train, c.Queries));
    }

    /// <summary>A living process of the same rank, or of another number of processes; one that died is no hindrance.</summary>
    [Fact]
    public void ARankThatContradictsTheFolderIsRefused()
    {
        using var c = new Classifier(12);
        var work = new Work(_folder.Path("fit")) { Rank = 1, Count = 3 };
        Refused("Rank 3 is none of 3 processes", () => Fit(work with { Rank = 3 }));
        Refused("Rank 1 is none of 1 processes", () => Fit(work with { Count = 1 }));
        using (WorkClaim.TryTake(Path.Combine(work.Folder, WorkMember.NameOf(1, 3)), TimeSpan.FromMinutes(1)))
        {
            Refused("two processes have the same rank", () => Fit(work));
            Refused("one of 3 is at work", () => Fit(work with { Count = 4 }));
            Refused(
                "two processes have the same rank",
                () => new Retraining(work).Run(Subsets.Half([.. Enumerable.Range(0, 8).Select(i => (long)i)], 2, seed: 1), [1], _ => [0])
            );
            Fit(work with { Rank = 2 });
            Fit(new Work(work.Folder));
        }

        File.WriteAllBytes(
            Path.Combine(work.Folder, WorkMember.NameOf(0, 8)),
            JsonSerializer.SerializeToUtf8Bytes(ClaimOwner.Draw() with { Process = int.MaxValue })
        );
        Fit(work);

        void Fit(Work own) => Ekfac.Fit(c.Task(), c.Train, new Ekfac.Options { Work = own }).Dispose();
    }

    /// <summary>Another machine's claims are watched: a heartbeat tells a living process, and silence a dead one.</summary>
    [Fact]
    public void AnotherMachinesRankIsWatched()
    {
        var (work, patience) = (new Work(_folder.FullName) { Rank = 0, Count = 2 }, TimeSpan.FromMilliseconds(600));
        var path = _folder.Path(WorkMember.NameOf(0, 2));
        File.WriteAllBytes(path, JsonSerializer.SerializeToUtf8Bytes(ClaimOwner.Draw() with { Machine = "elsewhere" }));
        using (new Timer(_ => File.SetLastWriteTimeUtc(path, DateTime.UtcNow), null, 100, 100))
        {
            Refused("elsewhere", () => WorkMember.Join(work with { StaleAfter = patience }, default).Dispose());
        }

        using var member = WorkMember.Join(work with { StaleAfter = patience }, default);
        Assert.DoesNotContain("elsewhere", File.ReadAllText(path), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(59, false)]
    [InlineData(-61, true)]
    [InlineData(61, true)]
    public void ClocksThatDifferAreRefused(int seconds, bool refused)
    {
        if (refused)
        {
            Refused("NTP", Check);
        }
        else
        {
            Check();
        }

        void Check() => WorkFolder.CheckClock("folder", TimeSpan.FromSeconds(seconds), TimeSpan.FromMinutes(2));
    }

    [Fact]
    public void ADiskThatIsTooSmallIsFoundFirst()
    {
        Refused("9.5 MiB are free", () => WorkFolder.CheckRoom("folder", 10_000_001, 10_000_000));
        WorkFolder.CheckRoom("folder", 10_000_000, 10_000_000);
    }

    /// <summary>Where writing fails the unit is not there, what was there stays, and the claim is free.</summary>
    [Fact]
    public void AWriteThatFailsLosesNothing()
    {
        var manifest = new WorkManifest
        {
            Format = "influence.work/1",
            Call = "test",
            Facts = [],
        };
        using (var folder = WorkFolder.Open(new Work(_folder.FullName), manifest, default))
        {
            Refused(
                "No space left on device",
                () =>
                    folder.Do(
                        "unit",
                        3,
                        () => false,
                        unit =>
                            AtomicFile.Write(
                                folder.PathOf(WorkFolder.NameOf("unit", unit)),
                                stream => stream.WriteByte(unit < 2 ? (byte)unit : throw new IOException("No space left on device."))
                            )
                    )
            );
        }

        Assert.Equal(["lock", "unit-000000.safetensors", "unit-000001.safetensors", "work.json"], _folder.Files);
        using var again = WorkFolder.Open(new Work(_folder.FullName), manifest, default);
        var made = new List<int>();
        again.Do(
            "unit",
            3,
            () => false,
            unit =>
            {
                made.Add(unit);
                AtomicFile.Write(again.PathOf(WorkFolder.NameOf("unit", unit)), stream => stream.WriteByte((byte)unit));
            }
        );
        Assert.Equal([2], made);
    }

    [Fact]
    public void RunsOfRetrainingBeginAtTheShareOfTheRank()
    {
        var order = new List<int>();
        var subsets = Subsets.Half([.. Enumerable.Range(0, 8).Select(i => (long)i)], 4, seed: 1);
        new Retraining(new Work(_folder.FullName) { Rank = 1, Count = 2 }).Run(
            subsets,
            [1],
            run =>
            {
                order.Add(run.Index);
                return [run.Index];
            }
        );
        Assert.Equal([2, 3, 0, 1], order);
    }

    private static Work From(string variables)
    {
        var set = variables.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(v => v.Split('=')).ToDictionary(v => v[0], v => v[1]);
        return Work.FromEnvironment("folder", set.GetValueOrDefault);
    }

    private static void Refused(string said, Action call) =>
        Assert.Contains(said, Assert.Throws<InfluenceException>(call).Message, StringComparison.Ordinal);

    private static void Refused(string said, Func<object> call) =>
        Refused(
            said,
            () =>
            {
                _ = call();
            }
        );
}
