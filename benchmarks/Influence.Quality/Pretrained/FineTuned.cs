using Influence.Curvature;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Pretrained;

/// <summary>A model whose weights are from elsewhere, fine-tuned on examples of a sample.</summary>
internal sealed class FineTuned : IDisposable
{
    private readonly InfluenceTask _task;

    /// <param name="model">In evaluation mode; what is trained has gradients.</param>
    /// <param name="loss">One loss an example, by a model of this kind in any type of numbers.</param>
    public FineTuned(nn.Module model, Func<nn.Module, ExampleBatch, Tensor> loss)
    {
        (Model, Loss) = (model, loss);
        _task = TaskOf(model);
    }

    public required string Name { get; init; }

    /// <summary>Sizes and settings in words.</summary>
    public required string Facts { get; init; }

    public required Examples Train { get; init; }

    public required Examples Queries { get; init; }

    /// <summary>Three of the run; the last is its end.</summary>
    public required IReadOnlyList<Checkpoint> Checkpoints { get; init; }

    /// <summary>Makes the model before it is fine-tuned.</summary>
    public required Func<nn.Module> Create { get; init; }

    public required Ekfac.Options Curvature { get; init; }

    /// <summary>The ids of examples with wrong labels; none where none were flipped.</summary>
    public IReadOnlyList<long> Flipped { get; init; } = [];

    /// <summary>Goes with the model.</summary>
    public required IDisposable[] Owned { get; init; }

    public nn.Module Model { get; }

    public Func<nn.Module, ExampleBatch, Tensor> Loss { get; }

    /// <summary>One task for all calls, as a program has it.</summary>
    public InfluenceTask Task => _task;

    /// <summary>The fine-tuned model in another type of numbers, with its task. The caller disposes it.</summary>
    public (nn.Module Model, InfluenceTask Task) In(ScalarType type)
    {
        var model = Create();
        Checkpoints[^1].LoadInto(model);
        model.to(type);
        model.eval();
        return (model, TaskOf(model));
    }

    public void Dispose()
    {
        Model.Dispose();
        Array.ForEach(Owned, owned => owned.Dispose());
    }

    private InfluenceTask TaskOf(nn.Module model) => new(model) { TrainingLoss = batch => Loss(model, batch) };
}
