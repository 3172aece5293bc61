using Influence;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace TrainingLoop;

/// <summary>A model to train, data of which some are noise, and clean data to steer and to judge by.</summary>
internal sealed record NoisyJob : IDisposable
{
    private const int JudgeBatch = 250;

    public required string Name { get; init; }

    /// <summary>The data in a few words.</summary>
    public required string Description { get; init; }

    /// <summary>What is noise about a noisy example.</summary>
    public required string Noise { get; init; }

    /// <summary>What the held-out loss is in, and how many nats one is.</summary>
    public required (string Name, double Nats) Unit { get; init; }

    /// <summary>The training examples; a row is an id.</summary>
    public required ExampleTensors Train { get; init; }

    public required IReadOnlyList<bool> IsNoisy { get; init; }

    /// <summary>Clean examples that a method may steer by.</summary>
    public required ExampleTensors Validation { get; init; }

    /// <summary>Clean examples that nothing sees in training.</summary>
    public required ExampleTensors HeldOut { get; init; }

    /// <summary>Where the training examples come from, for a mixture; null for one source.</summary>
    public ExampleGroups? Sources { get; init; }

    public required Func<int, nn.Module<Tensor, Tensor>> CreateModel { get; init; }

    public required Func<nn.Module<Tensor, Tensor>, optim.Optimizer> CreateOptimizer { get; init; }

    /// <summary>The examples of a step.</summary>
    public required int BatchSize { get; init; }

    /// <summary>The validation examples of a step, for methods that steer by them.</summary>
    public required int ValidationSize { get; init; }

    public required int Steps { get; init; }

    public required LossReweighting Reweighting { get; init; }

    public required OnlineSelection Selection { get; init; }

    /// <summary>Each example's loss, in nats, <c>[B]</c>: for texts the mean over its bytes.</summary>
    public static Tensor Losses(Tensor logits, ExampleBatch batch) =>
        Influence.Losses.CrossEntropy(logits, batch["target"], Counted(batch), meanOverPositions: true);

    /// <summary>Which positions count, or null for all.</summary>
    public static Tensor? Counted(ExampleBatch batch) => batch.Names.Contains("counted") ? batch["counted"] : null;

    /// <summary>The loss on the held-out examples, a byte or an image at a time, and the share that is predicted rightly.</summary>
    public (double Loss, double Accuracy) Judge(nn.Module<Tensor, Tensor> model)
    {
        model.eval();
        using var noGrad = no_grad();
        var (loss, right, count) = (0.0, 0.0, 0.0);
        for (var start = 0; start < HeldOut.Count; start += JudgeBatch)
        {
            using var scope = NewDisposeScope();
            var batch = HeldOut.At([.. Enumerable.Range(start, Math.Min(JudgeBatch, HeldOut.Count - start)).Select(row => (long)row)]);
            var logits = model.call(batch["input"]); // [B, ..., C]
            var counted = Counted(batch) ?? ones_like(batch["target"]).to_type(ScalarType.Bool); // [B, ...]
            loss += Influence.Losses.CrossEntropy(logits, batch["target"], counted).to_type(ScalarType.Float64).sum().item<double>();
            right += logits.argmax(-1).eq(batch["target"]).logical_and(counted).to_type(ScalarType.Float64).sum().item<double>();
            count += counted.to_type(ScalarType.Float64).sum().item<double>();
        }

        model.train();
        return (loss / count / Unit.Nats, right / count);
    }

    public void Dispose()
    {
        Train.Dispose();
        Validation.Dispose();
        HeldOut.Dispose();
    }
}
