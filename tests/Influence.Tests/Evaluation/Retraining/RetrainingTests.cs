using System.Diagnostics;
using Influence.Evaluation;
using Influence.Formats;
using Influence.Tests.Oracles;
using Xunit;
using static Influence.Tests.Evaluation.EvaluationCases;

namespace Influence.Tests.Evaluation;

/// <summary>The harness: what is recorded stays, what is not is done, and nothing is mixed up.</summary>
public sealed class RetrainingTests : IDisposable
{
    private static readonly Subsets s_subsets = Subsets.Half(Ids(10), 4, seed: 2);
    private readonly TempFolder _folder = new();
    private readonly List<int> _done = [];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void EveryRunIsDoneOnceWithItsSubsetAndSeed()
    {
        var progress = new Reports();
        var runs = Run(new Retraining(_folder.FullName) { Seeds = [7, 8] }, progress: progress);

        // The first seed of every subset comes before the second.
        Assert.Equal([0, 2, 4, 6, 1, 3, 5, 7], _done);
        Assert.Equal(8, runs.Count);
        Assert.Equal([7, 8, 7, 8, 7, 8, 7, 8], runs.Seeds);
        for (var run = 0; run < 8; run++)
        {
            Assert.Equal(s_subsets[run / 2].Ids, runs.SubsetOf(run).Ids);
            Assert.Equal(Truth(run, 0), runs[run, 0]);
            Assert.Equal(Truth(run, 1), runs[run, 1]);
        }

        Assert.Equal(8, progress.All[^1].Done);
        Assert.DoesNotContain(
            _folder.Files,
            f => f.EndsWith(".claim", StringComparison.Ordinal) || f.EndsWith(".partial", StringComparison.Ordinal)
        );
    }

    [Fact]
    public void ARunThatThrowsIsNamedAndTheOthersAreKept()
    {
        var retraining = new Retraining(_folder.FullName);
        var thrown = Assert.Throws<InfluenceException>(() =>
            retraining.Run(s_subsets, [20, 21], run => run.Index == 1 ? throw new InvalidOperationException("no memory left") : Train(run))
        );

        Assert.Contains("1 of 4 runs failed", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("run 1 (half 1, seed 0): InvalidOperationException: no memory left", thrown.Message, StringComparison.Ordinal);
        Assert.IsType<InvalidOperationException>(thrown.InnerException);
        Assert.Equal([0, 2, 3], _done);

        _done.Clear();
        Assert.Equal(4, Run(retraining).Count);
        Assert.Equal([1], _done);
    }

    [Fact]
    public void AtTooManyFailuresItGivesUp()
    {
        var calls = 0;
        Assert.Throws<InfluenceException>(() =>
            new Retraining(_folder.FullName) { MaximumFailures = 2 }.Run(
                s_subsets,
                [20],
                _ => ++calls > 0 ? throw new InvalidOperationException("always") : [1]
            )
        );
        Assert.Equal(2, calls);
    }

    [Fact]
    public void CancellationLosesAtMostTheRunInProgress()
    {
        using var source = new CancellationTokenSource();
        var retraining = new Retraining(_folder.FullName);
        Assert.Throws<OperationCanceledException>(() =>
            retraining.Run(
                s_subsets,
                [20, 21],
                run =>
                {
                    if (run.Index == 2)
                    {
                        source.Cancel();
                        run.CancellationToken.ThrowIfCancellationRequested();
                    }

                    return Train(run);
                },
                cancellationToken: source.Token
            )
        );

        Assert.Equal([0, 1], _done);
        Assert.Throws<InfluenceException>(() => Retraining.Result.Load(_folder.FullName));
        Assert.Equal([0, 1], Retraining.Result.Load(_folder.FullName, unfinished: true).Subsets.Select(s => int.Parse(s.Name[5..], null)));
        Run(retraining);
        Assert.Equal([0, 1, 2, 3], _done);
    }

    [Theory]
    [InlineData("")]
    [InlineData("{\"format\":\"influence.retraining.run/1\",\"set_up\":\"")]
    [InlineData("{\"format\":\"influence.retraining.run/1\",\"set_up\":\"another\",\"run\":2,\"values\":[1,2],\"seconds\":1}")]
    public void DamagedFilesAreDoneAgain(string content)
    {
        var messages = new Messages();
        var retraining = new Retraining(_folder.FullName) { Logger = messages };
        Run(retraining);
        File.WriteAllText(_folder.Path("run-000002.json"), content);

        var thrown = Assert.Throws<InfluenceException>(() => Retraining.Result.Load(_folder.FullName));
        Assert.Contains("lacks 1 of 4 runs: 2.", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("run-000002.json", thrown.Message, StringComparison.Ordinal);

        _done.Clear();
        Assert.Equal(Truth(2, 1), Run(retraining)[2, 1]);
        Assert.Equal([2], _done);
        Assert.Contains(messages.All, m => m.StartsWith("Retraining run 2 is done again", StringComparison.Ordinal));
    }

    [Fact]
    public void PartialFilesAndForeignFilesDoNotCount()
    {
        File.WriteAllText(_folder.Path("run-000001.json.99.partial"), "{");
        Assert.Equal(4, Run(new Retraining(_folder.FullName)).Count);
        Assert.Equal([0, 1, 2, 3], _done);
    }

    [Fact]
    public void AnotherSetUpIsRefusedByName()
    {
        Run(new Retraining(_folder.FullName) { Settings = "lr 0.1" });
        _done.Clear();

        Refused(
            "the settings (the folder's: \"lr 0.1\"; now: \"lr 0.2\")",
            () => Run(new Retraining(_folder.FullName) { Settings = "lr 0.2" })
        );
        Refused("the seeds (the folder's: 0; now: 1)", () => Run(new Retraining(_folder.FullName) { Settings = "lr 0.1", Seeds = [1] }));
        Refused(
            "what is better (the folder's: lower; now: higher)",
            () => Run(new Retraining(_folder.FullName) { Settings = "lr 0.1", HigherIsBetter = true })
        );
        Refused(
            "the subsets (as many, but not the same)",
            () => new Retraining(_folder.FullName) { Settings = "lr 0.1" }.Run(Subsets.Half(Ids(10), 4, seed: 3), [20, 21], Train)
        );
        Refused(
            "the queries (the folder's: 2 ids; now: 1 ids)",
            () => new Retraining(_folder.FullName) { Settings = "lr 0.1" }.Run(s_subsets, [20], Train)
        );
        Assert.Empty(_done);

        static void Refused(string why, Action act) =>
            Assert.Contains(why, Assert.Throws<InfluenceException>(act).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TwoWorkersShareAFolder()
    {
        var subsets = Subsets.Half(Ids(10), 12, seed: 2);
        var (counts, together) = (new int[12], 0);
        using var both = new Barrier(2);
        var results = new Retraining.Result[2];
        var workers = Enumerable
            .Range(0, 2)
            .Select(w => new Thread(() =>
                results[w] = new Retraining(_folder.FullName).Run(
                    subsets,
                    [20, 21],
                    run =>
                    {
                        // Each worker is in its first run before either goes on: both have taken one.
                        if (Interlocked.Increment(ref together) <= 2)
                        {
                            both.SignalAndWait(TimeSpan.FromSeconds(20));
                        }

                        Interlocked.Increment(ref counts[run.Index]);
                        Thread.Sleep(2);
                        return [Truth(run.Index, 0), Truth(run.Index, 1)];
                    }
                )
            ))
            .ToArray();
        Array.ForEach(workers, w => w.Start());
        Array.ForEach(workers, w => w.Join());

        Assert.All(counts, c => Assert.Equal(1, c));
        Assert.All(results, r => Assert.Equal(12, r.Count));
        Assert.All(results, r => Assert.Equal(Truth(11, 1), r[11, 1]));
    }

    [Fact]
    public void TheClaimOfADeadProcessIsTakenOver()
    {
        // A number that a process had and no longer has.
        using var process = Process.Start(new ProcessStartInfo("dotnet", "--version") { RedirectStandardOutput = true })!;
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Claim(1, ClaimOwner.Draw() with { Process = process.Id });

        // A number that another process has by now: this one's, which started at another time.
        Claim(2, ClaimOwner.Draw() with { Started = "1" });

        Assert.Equal(4, Run(new Retraining(_folder.FullName)).Count);
        Assert.Equal([0, 1, 2, 3], _done);
    }

    [Fact]
    public void TheClaimOfAnotherMachineCountsAsLongAsItsHeartbeat()
    {
        Claim(1, ClaimOwner.Draw() with { Machine = "elsewhere", Process = 1 });
        using var source = new CancellationTokenSource();
        var othersDone = new Reports(report =>
        {
            if (report.Done == 3)
            {
                source.CancelAfter(TimeSpan.FromMilliseconds(300));
            }
        });
        Assert.Throws<OperationCanceledException>(() =>
            new Retraining(_folder.FullName).Run(s_subsets, [20, 21], Train, othersDone, source.Token)
        );
        Assert.Equal([0, 2, 3], _done);

        File.SetLastWriteTimeUtc(_folder.Path("run-000001.claim"), DateTime.UtcNow.AddMinutes(-3));
        Run(new Retraining(_folder.FullName));
        Assert.Equal([0, 2, 3, 1], _done);
    }

    /// <summary>As in two containers on one machine: the number of a process says nothing there, whatever the machines' names
    /// are.</summary>
    [Fact]
    public void AProcessOfAnotherNamespaceIsNotTakenForADeadOne()
    {
        Claim(1, ClaimOwner.Draw() with { Space = "another", Process = int.MaxValue });
        Assert.Null(WorkClaim.TryTake(_folder.Path("run-000001.claim"), TimeSpan.FromMinutes(2)));
        Claim(1, ClaimOwner.Draw() with { Process = int.MaxValue });
        using var taken = WorkClaim.TryTake(_folder.Path("run-000001.claim"), TimeSpan.FromMinutes(2));
        Assert.NotNull(taken);
    }

    /// <summary>What holds no owner is nobody's, however new it is; a claim is never there half written.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{\"Machine\":null,\"Process\":5}")]
    public void AClaimWithoutAnOwnerCostsNoTime(string content)
    {
        File.WriteAllText(_folder.Path("run-000001.claim"), content);
        var watch = Stopwatch.StartNew();
        Assert.Equal(4, Run(new Retraining(_folder.FullName)).Count);
        Assert.InRange(watch.Elapsed.TotalSeconds, 0, 20);
    }

    [Fact]
    public void AClaimFromTheFutureIsStale()
    {
        Claim(1, ClaimOwner.Draw() with { Machine = "elsewhere" });
        File.SetLastWriteTimeUtc(_folder.Path("run-000001.claim"), DateTime.UtcNow.AddHours(1));
        Assert.Equal(4, Run(new Retraining(_folder.FullName)).Count);
    }

    /// <summary>Who lost a claim neither renews nor removes the one that took its place.</summary>
    [Fact]
    public void AClaimThatWasTakenOverIsLeftAlone()
    {
        var path = _folder.Path("run-000001.claim");
        using (WorkClaim.TryTake(path, staleAfter: TimeSpan.FromMilliseconds(60)))
        {
            Claim(1, ClaimOwner.Draw() with { Machine = "elsewhere" });
            File.SetLastWriteTimeUtc(path, DateTime.UtcNow.AddMinutes(-1));
            var time = File.GetLastWriteTimeUtc(path);
            Thread.Sleep(100);
            Assert.Equal(time, File.GetLastWriteTimeUtc(path));
        }

        Assert.Contains("elsewhere", File.ReadAllText(path), StringComparison.Ordinal);
    }

    /// <summary>Of many that find a claim stale at the same time, one takes it.</summary>
    [Fact]
    public void OneOfManyTakesAStaleClaim()
    {
        var path = _folder.Path("run-000001.claim");
        for (var round = 0; round < 5; round++)
        {
            File.WriteAllText(path, string.Empty);
            using var start = new Barrier(6);
            var taken = new WorkClaim?[6];
            var threads = Enumerable
                .Range(0, 6)
                .Select(i => new Thread(() =>
                {
                    start.SignalAndWait();
                    taken[i] = WorkClaim.TryTake(path, TimeSpan.FromMinutes(2));
                }))
                .ToArray();
            Array.ForEach(threads, t => t.Start());
            Array.ForEach(threads, t => t.Join());
            Assert.Single(taken.OfType<WorkClaim>());
            Array.ForEach(taken, claim => claim?.Dispose());
            Assert.False(File.Exists(path));
        }
    }

    [Theory]
    [InlineData("seeds")]
    [InlineData("settings")]
    [InlineData("query_ids")]
    [InlineData("train_ids")]
    [InlineData("subset_names")]
    [InlineData("subset_bits")]
    public void AManifestWithNothingIsRefused(string key)
    {
        Run(new Retraining(_folder.FullName));
        var text = File.ReadAllText(_folder.Path("retraining.json"));
        File.WriteAllText(
            _folder.Path("retraining.json"),
            System.Text.RegularExpressions.Regex.Replace(text, $"\"{key}\":(\\[[^\\]]*\\]|\"[^\"]*\")", $"\"{key}\":null")
        );
        Assert.Contains("null", File.ReadAllText(_folder.Path("retraining.json")), StringComparison.Ordinal);
        Assert.Contains(
            "retraining.json",
            Assert.Throws<InfluenceException>(() => Retraining.Result.Load(_folder.FullName)).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>No change of a byte gives another value; one without a checksum, of an earlier version, still counts.</summary>
    [Fact]
    public void AChangedRunIsDoneAgain()
    {
        Run(new Retraining(_folder.FullName));
        var path = _folder.Path("run-000002.json");
        var whole = File.ReadAllBytes(path);
        for (var at = 0; at < whole.Length; at++)
        {
            var bytes = (byte[])whole.Clone();
            bytes[at] ^= 1;
            File.WriteAllBytes(path, bytes);
            var read = Record.Exception(() => Assert.Equal(Truth(2, 1), Retraining.Result.Load(_folder.FullName)[2, 1]));
            Assert.True(read is null or InfluenceException, $"{at}: {read}");
        }

        var text = System.Text.Encoding.UTF8.GetString(whole);
        File.WriteAllText(
            path,
            text[..text.IndexOf(",\"sha256\"", StringComparison.Ordinal)].Replace("run/2", "run/1", StringComparison.Ordinal) + "}"
        );
        Assert.Equal(Truth(2, 1), Retraining.Result.Load(_folder.FullName)[2, 1]);
    }

    [Fact]
    public void AHeartbeatKeepsALongRun()
    {
        var path = _folder.Path("x.claim");
        using var claim = WorkClaim.TryTake(path, staleAfter: TimeSpan.FromMilliseconds(300));
        var taken = File.GetLastWriteTimeUtc(path);

        // However busy the machine is.
        Assert.True(SpinWait.SpinUntil(() => File.GetLastWriteTimeUtc(path) > taken, TimeSpan.FromMinutes(1)));
        Assert.Null(WorkClaim.TryTake(path, staleAfter: TimeSpan.FromMinutes(2)));
    }

    [Fact]
    public void RewardsBecomeLosses()
    {
        var runs = Run(new Retraining(_folder.FullName) { HigherIsBetter = true });
        Assert.Equal(-Truth(3, 1), runs[3, 1]);
        Assert.Equal(
            2,
            Retraining.Result.Of(
                s_subsets,
                [20],
                new double[,]
                {
                    { -2 },
                    { 0 },
                    { 0 },
                    { 0 },
                },
                higherIsBetter: true
            )[0, 0]
        );
    }

    [Fact]
    public void NotANumberIsRecordedAndNamed()
    {
        var runs = new Retraining(_folder.FullName).Run(
            s_subsets,
            [20, 21],
            run => [run.Index, run.Index == 2 ? double.NaN : double.PositiveInfinity]
        );
        Assert.Equal([(0, 21L), (1, 21L), (2, 21L), (3, 21L)], runs.NotFinite);
    }

    [Fact]
    public void AValueTooFewIsAFailedRun()
    {
        var thrown = Assert.Throws<InfluenceException>(() => new Retraining(_folder.FullName).Run(s_subsets, [20, 21], _ => [1]));
        Assert.Contains(
            "run 0 (half 0, seed 0): InfluenceException: The training function returned 1 values; expected one for each of "
                + "the 2 queries.",
            thrown.Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void RunsOfAnotherToolComeAsArrays()
    {
        var runs = Retraining.Result.Of(
            new[,]
            {
                { true, false, true },
                { false, true, true },
            },
            new[,]
            {
                { 1.0, 2 },
                { 3, 4 },
                { 5, 6 },
                { 7, 8 },
            },
            trainIds: [4, 5, 6]
        );
        Assert.Equal([4, 6], runs.SubsetOf(1).Ids);
        Assert.Equal([0, 1, 0, 1], runs.Seeds);
        Assert.Equal([2, 3], runs.Means()[0]);
        Assert.Throws<InfluenceException>(() =>
            Retraining.Result.Of(
                new[,]
                {
                    { true },
                    { false },
                },
                new[,]
                {
                    { 1.0 },
                    { 2 },
                    { 3 },
                }
            )
        );
    }

    private static double Truth(int run, int query) => (run * 10) + query + 0.1;

    private double[] Train(Retraining.Job run)
    {
        _done.Add(run.Index);
        return [Truth(run.Index, 0), Truth(run.Index, 1)];
    }

    private Retraining.Result Run(Retraining retraining, IProgress<InfluenceProgress>? progress = null) =>
        retraining.Run(s_subsets, [20, 21], Train, progress);

    private void Claim(int run, ClaimOwner owner) =>
        File.WriteAllText(_folder.Path($"run-{run:D6}.claim"), System.Text.Json.JsonSerializer.Serialize(owner));
}
