using System.Diagnostics;
using Influence.Stores;
using Influence.Tests.Aborts;
using Influence.Tests.Oracles;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Stores;

/// <summary>A process that writes a store and is killed: nothing of it runs on, no file is closed, no folder tidied up.</summary>
public sealed class KilledWriterTests : IDisposable
{
    /// <summary>The argument with which this assembly, as a program, writes the store into the folder that follows.</summary>
    public const string Command = "store";

    private const int Examples = 36;
    private const int Kills = 10;
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Killed at ten random instants, resumed by another process: the folder is that of a call that nothing cut off, byte for
    /// byte.</summary>
    [Fact]
    public async Task WhatWasKilledEndsTheSame()
    {
        Write(_folder.Path("whole"), null);
        var expected = Contents("whole");
        Assert.Equal(2 + (Examples / 2), expected.Count);
        var random = new Random(20);
        var inTheMiddle = 0;
        for (var kill = 0; kill < Kills; kill++)
        {
            var folder = $"killed{kill}";
            using (var process = AbortTests.Start(Command, _folder.Path(folder)))
            {
                // After some examples of its own account, and a part of what the next few take.
                var (examples, more) = (random.Next(1, Examples / 2), TimeSpan.FromMilliseconds(20 * random.NextDouble()));
                var errors = process.StandardError.ReadToEndAsync();
                string? line;
                do
                {
                    line = await process.StandardOutput.ReadLineAsync();
                } while (line is not null && !(int.TryParse(line, out var done) && done >= examples));
                var watch = Stopwatch.StartNew();
                while (watch.Elapsed < more)
                {
                    Thread.SpinWait(20);
                }

                process.Kill();
                await process.WaitForExitAsync();
                Assert.True(line is not null, $"The child ended of itself, with {process.ExitCode}: {await errors}");
            }

            var left = Directory.GetFiles(_folder.Path(folder)).Length;
            Assert.True(left >= 2, "The child had written nothing.");
            inTheMiddle += expected.Keys.Except(Contents(folder).Keys).Any() ? 1 : 0;
            Write(_folder.Path(folder), null);
            Assert.Equal(expected, Contents(folder));
        }

        Assert.True(inTheMiddle >= Kills / 2, $"Only {inTheMiddle} of {Kills} children were killed while they wrote.");
    }

    /// <summary>What the child does, and what resumes it.</summary>
    internal static void Write(string folder, IProgress<InfluenceProgress>? progress)
    {
        using var classifier = new Classifier(Examples);
        GradientStore.Write(
            classifier.Task(),
            classifier.Train with
            {
                BatchSize = 10,
            },
            new GradientProjection
            {
                Dimension = 3,
                Dtype = ScalarType.Float64,
                ExamplesPerShard = 2,
            },
            folder,
            progress
        );
    }

    private Dictionary<string, string> Contents(string folder) =>
        Directory
            .EnumerateFiles(_folder.Path(folder))
            .ToDictionary(f => Path.GetFileName(f)!, f => Convert.ToHexString(File.ReadAllBytes(f)));
}
