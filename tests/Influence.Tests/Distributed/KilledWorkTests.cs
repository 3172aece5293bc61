using System.Diagnostics;
using System.Globalization;
using Influence.Curvature;
using Influence.Distributed;
using Influence.Estimators;
using Influence.Formats;
using Influence.Stores;
using Influence.Tests.Aborts;
using Influence.Tests.Oracles;
using Xunit;
using Xunit.Abstractions;
using static TorchSharp.torch;

namespace Influence.Tests.Distributed;

/// <summary>Processes that are killed at work: nothing of them runs on, no claim is given back, no folder tidied up.</summary>
public sealed class KilledWorkTests(ITestOutputHelper output) : IDisposable
{
    /// <summary>The argument with which this assembly, as a program, fits, scores and stores in the folder that follows; it ends itself
    /// after so many batches.</summary>
    public const string Command = "work";

    /// <summary>The same for plain units, without a model.</summary>
    public const string PlainCommand = "units";

    private const int PlainUnits = 16;
    private const int PlainBytes = 20_000;
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>
    /// One process after another works in the folder, and the k-th is killed when it has done or found k units, so that a kill falls after
    /// every unit of every stage; what the last one leaves, which comes to the end, is what one process leaves that nothing cuts off.
    /// </summary>
    [Fact]
    public async Task KilledAfterEveryUnitTheResultIsTheSame()
    {
        Work(_folder.Path("whole"), null);
        var expected = Results("whole");
        var kills = 0;
        while (true)
        {
            using var process = AbortTests.Start(Command, _folder.Path("killed"), $"{kills + 1}");
            var errors = process.StandardError.ReadToEndAsync();
            await process.StandardOutput.ReadToEndAsync();
            await process.WaitForExitAsync();
            if (process.ExitCode == 0)
            {
                break;
            }

            Assert.True(process.ExitCode == 137, $"The child ended of itself, with {process.ExitCode}: {await errors}");
            kills++;
        }

        output.WriteLine($"{kills} kills");
        Assert.True(kills >= 8, $"Only {kills} kills.");
        Assert.Equal(expected, Results("killed"));
    }

    /// <summary>Three processes share the folder by ranks, and one is killed on the way: the others take its unit over, and what each
    /// returns is what one process makes.</summary>
    [Fact]
    public async Task TogetherTheyMakeWhatOneMakes()
    {
        Work(_folder.Path("whole"), null);
        var processes = Enumerable
            .Range(0, 3)
            .Select(rank => AbortTests.Start(Command, _folder.Path("shared"), rank == 1 ? "4" : "0", $"{rank}", "3"))
            .ToList();
        foreach (var process in processes)
        {
            var errors = process.StandardError.ReadToEndAsync();
            await process.StandardOutput.ReadToEndAsync();
            await process.WaitForExitAsync();

            // The one that is to die may find everything done before its fourth batch.
            Assert.True(process.ExitCode == 0 || (process == processes[1] && process.ExitCode == 137), await errors);
            process.Dispose();
        }

        Assert.Equal(Results("whole"), Results("shared"));
    }

    /// <summary>A hundred kills at random instants, of two processes at a time, in units that take some milliseconds: writing, flushing,
    /// claiming, merging.</summary>
    [Fact]
    public async Task KilledAtAHundredRandomInstantsTheBytesAreTheSame()
    {
        PlainWork(_folder.Path("whole"), 0);
        var expected = Results("whole");
        var random = new Random(7);
        var (kills, folder) = (0, 0);
        while (kills < 100)
        {
            // Some folders see one pair of kills, others several.
            var name = $"killed{folder++}";
            Assert.True(folder <= 60, $"Only {kills} processes were killed at work.");
            for (var life = random.Next(1, 5); life > 0; life--)
            {
                var delays = new[] { 120 * random.NextDouble(), 120 * random.NextDouble() };
                var killed = await Task.WhenAll(delays.Select(delay => IsKilled(_folder.Path(name), TimeSpan.FromMilliseconds(delay))));
                kills += killed.Count(own => own);
            }

            PlainWork(_folder.Path(name), 0);
            Assert.Equal(expected, Results(name));
            Assert.Empty(Directory.EnumerateFiles(_folder.Path(name), "*.partial"));
        }

        output.WriteLine($"{kills} kills in {folder} folders");
    }

    /// <summary>Starts a process, and kills it so long after it has opened the folder; false where it was done by then.</summary>
    private static async Task<bool> IsKilled(string folder, TimeSpan after)
    {
        using var process = AbortTests.Start(PlainCommand, folder, "4");
        var line = await process.StandardOutput.ReadLineAsync();
        Assert.True(line == "open", line is null ? await process.StandardError.ReadToEndAsync() : line);
        await Task.Delay(after);
        process.Kill();
        await process.WaitForExitAsync();
        return process.ExitCode == 137;
    }

    /// <summary>What a child is asked for; null where the arguments are not ours.</summary>
    public static Action? Of(string[] arguments) =>
        arguments switch
        {
            [Command, var folder, var batches] => () => Work(folder, Kill(batches)),
            [Command, var folder, var batches, var rank, var count] => () =>
                Work(folder, Kill(batches), int.Parse(rank, CultureInfo.InvariantCulture), int.Parse(count, CultureInfo.InvariantCulture)),
            [PlainCommand, var folder, var pause] => () => PlainWork(folder, int.Parse(pause, CultureInfo.InvariantCulture)),
            _ => null,
        };

    /// <summary>A fit, its scores, self-influence and a store, each in a folder of its own.</summary>
    private static void Work(string folder, IProgress<InfluenceProgress>? progress, int rank = 0, int count = 1)
    {
        set_num_threads(1);
        using var classifier = new Classifier(20, 3);
        var task = classifier.Task();
        var train = classifier.Train with { BatchSize = 5 };
        var work = new Work(folder)
        {
            Rank = rank,
            Count = count,
            ExamplesPerUnit = 5,
        };
        using var fit = Ekfac.Fit(task, train, new Ekfac.Options { Work = work.In("fit") }, progress);
        var influence = new InfluenceFunction(fit);
        (influence with { Work = work.In("scores") }).ScoreToFile(
            Path.Combine(folder, FormattableString.Invariant($"scores{rank}.safetensors")),
            task,
            train,
            classifier.Queries,
            progress
        );
        (influence with { Work = work.In("self") })
            .SelfInfluence(task, train, progress)
            .Save(Path.Combine(folder, FormattableString.Invariant($"self{rank}.safetensors")));
        GradientStore.Write(
            task,
            train,
            new GradientProjection
            {
                Dimension = 3,
                ExamplesPerShard = 5,
                Work = work.In("store-work"),
            },
            Path.Combine(folder, "store"),
            progress
        );
    }

    /// <summary>Units of some bytes in pieces, and one process that joins them.</summary>
    private static void PlainWork(string path, int pause)
    {
        var manifest = new WorkManifest
        {
            Format = "influence.work/1",
            Call = "test",
            Facts = [],
        };
        using var folder = WorkFolder.Open(new Work(path), manifest, default);
        Console.WriteLine("open");
        folder.Do(
            "unit",
            PlainUnits,
            () => folder.IsThere("all"),
            unit =>
                AtomicFile.Write(
                    folder.PathOf(WorkFolder.NameOf("unit", unit)),
                    stream =>
                    {
                        for (var at = 0; at < PlainBytes; at++)
                        {
                            stream.WriteByte((byte)(at * (unit + 1)));
                            if (at % (PlainBytes / 4) == 0)
                            {
                                stream.Flush();
                                Thread.Sleep(pause);
                            }
                        }
                    }
                )
        );
        folder.DoOnce(
            "all",
            () =>
            {
                AtomicFile.Write(
                    folder.PathOf("all"),
                    stream =>
                    {
                        for (var unit = 0; unit < PlainUnits; unit++)
                        {
                            stream.Write(SharedFile.ReadAllBytes(folder.PathOf(WorkFolder.NameOf("unit", unit))));
                            Thread.Sleep(pause);
                        }
                    }
                );
                folder.Delete("unit", PlainUnits);
            }
        );
    }

    private static Reports? Kill(string batches)
    {
        var left = int.Parse(batches, CultureInfo.InvariantCulture);
        return left == 0
            ? null
            : new Reports(_ =>
            {
                if (--left == 0)
                {
                    using var own = Process.GetCurrentProcess();
                    own.Kill();
                    Thread.Sleep(Timeout.Infinite);
                }
            });
    }

    /// <summary>What a call leaves but for its claims and locks, and the units that a merge no longer needs.</summary>
    private SortedDictionary<string, string> Results(string folder)
    {
        var root = _folder.Path(folder);
        var files = Directory
            .EnumerateFiles(root, "*", SearchOption.AllDirectories)
            .Select(f => Path.GetRelativePath(root, f))
            .Where(f =>
                !f.EndsWith(".claim", StringComparison.Ordinal)
                && !f.EndsWith("lock", StringComparison.Ordinal)
                && !f.EndsWith(".partial", StringComparison.Ordinal)
                && !Path.GetFileName(f).StartsWith("unit-", StringComparison.Ordinal)
                && !Path.GetFileName(f).StartsWith("sums-", StringComparison.Ordinal)
                && !Path.GetFileName(f).StartsWith("squares-", StringComparison.Ordinal)
            );
        return new(
            files
                .Where(f => !f.EndsWith("1.safetensors", StringComparison.Ordinal) || f.Contains(Path.DirectorySeparatorChar))
                .Where(f => f is not ("scores2.safetensors" or "self2.safetensors"))
                .ToDictionary(f => f, f => Convert.ToHexString(Bytes(Path.Combine(root, f), f)))
        );
    }

    /// <summary>The file; of what a call returned and a user saved the numbers, since it also says what that call took.</summary>
    private static byte[] Bytes(string path, string name)
    {
        switch (name)
        {
            case "scores0.safetensors":
                using (var scores = InfluenceScores.Load(path))
                {
                    return scores.Values.bytes.ToArray();
                }

            case "self0.safetensors":
                return [.. ExampleScores.Load(path).Values.SelectMany(BitConverter.GetBytes)];
            default:
                return File.ReadAllBytes(path);
        }
    }
}
