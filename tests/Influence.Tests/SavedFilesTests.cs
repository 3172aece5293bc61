using Influence.Curvature;
using Influence.Tests.Curvature;
using Influence.Tests.Oracles;
using Influence.Tests.Training;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests;

/// <summary>
/// Of each kind of file: whatever byte is changed, and wherever it is cut off, it is refused with one kind of exception, before more than a
/// little is allocated, and nothing of it stays in memory.
/// </summary>
public sealed class SavedFilesTests : IDisposable
{
    /// <summary>Headers are parsed and messages made; a file of some kilobytes needs no more.</summary>
    private const long MostBytes = 4 << 20;

    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();

    private string Path => _folder.Path("f.safetensors");

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    [Fact]
    public void Scores()
    {
        using var scores = new InfluenceScores(
            tensor(
                new[,]
                {
                    { 1f, 2, 3 },
                }
            ),
            [5],
            [10, 11, 12],
            new ScoreMetadata { Estimator = "TracIn", Unit = "loss" }
        );
        scores.Save(Path);
        EveryChangeIsRefused(() => InfluenceScores.Load(Path).Dispose());
    }

    [Fact]
    public void ScoresOfExamples()
    {
        ExampleScores.Of([4, 5], [0.5, -1]).Save(Path);
        EveryChangeIsRefused(() => ExampleScores.Load(Path));
    }

    [Fact]
    public void Checkpoints()
    {
        using var model = nn.Linear(2, 1);
        var checkpoint = Checkpoint.Save(Path, model, 0.1, 3);
        EveryChangeIsRefused(() =>
        {
            Checkpoint.FromFile(Path);
            checkpoint.LoadInto(model);
        });
    }

    [Fact]
    public void Dynamics()
    {
        using var dynamics = new TrainingDynamics();
        Traces.Present(dynamics, 7, 0, [1, 0], [2, 0]);
        dynamics.Save(Path);
        EveryChangeIsRefused(() => TrainingDynamics.Load(Path).Dispose());
    }

    [Theory]
    [InlineData("EK-FAC")]
    [InlineData("diagonal Fisher")]
    public void Fits(string method)
    {
        var model = nn.Linear(2, 1, dtype: ScalarType.Float64);
        var task = new InfluenceTask(model) { TrainingLoss = batch => model.call(batch["x"]).Squared().sum(1) };
        using (var fit = LayerwiseMethods.FitLayerwise(method, task, Examples.FromTensors(("x", randn(4, 2, dtype: ScalarType.Float64)))))
        {
            fit.Save(Path);
        }

        EveryChangeIsRefused(() => LayerwiseMethods.Load(method, Path).Dispose());
    }

    private void EveryChangeIsRefused(Action load)
    {
        load();
        var whole = File.ReadAllBytes(Path);

        // Once to let TorchSharp make what it keeps.
        File.WriteAllBytes(Path, whole[..^1]);
        Refused("cut off at the end");
        var tensors = LiveTensors.OnThisThread;
        for (var length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(Path, whole[..length]);
            Refused($"cut off at {length}");
        }

        for (var at = 0; at < whole.Length; at++)
        {
            // One bit, another one at each byte.
            var bytes = (byte[])whole.Clone();
            bytes[at] ^= (byte)(1 << (at % 8));
            File.WriteAllBytes(Path, bytes);
            Refused($"byte {at} changed");
        }

        Assert.Equal(tensors, LiveTensors.OnThisThread);
        File.WriteAllBytes(Path, [.. whole, 0]);
        Refused("a byte too many");
        File.WriteAllBytes(Path, whole);
        load();

        void Refused(string what)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            var thrown = Record.Exception(load);
            var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.True(thrown is InfluenceException, $"{what}: {thrown?.ToString() ?? "it was loaded"}");
            Assert.True(allocated < MostBytes, $"{what}: {allocated:N0} bytes");
        }
    }
}
