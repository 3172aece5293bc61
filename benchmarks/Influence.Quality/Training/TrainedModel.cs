using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Training;

/// <summary>A model trained on all examples, with the checkpoints of its run.</summary>
/// <param name="recipe">How it was trained.</param>
/// <param name="checkpoints">In the order of their steps; the last is the end.</param>
/// <param name="seconds">What the training took.</param>
internal sealed class TrainedModel(Recipe recipe, IReadOnlyList<Checkpoint> checkpoints, double seconds)
{
    public IReadOnlyList<Checkpoint> Checkpoints { get; } = checkpoints;

    public double Seconds { get; } = seconds;

    /// <summary>The model at a checkpoint, in evaluation mode; the caller disposes it.</summary>
    public nn.Module<Tensor, Tensor> At(Checkpoint checkpoint)
    {
        var model = recipe.Create();
        checkpoint.LoadInto(model);
        model.eval();
        return model;
    }

    public nn.Module<Tensor, Tensor> AtTheEnd() => At(Checkpoints[^1]);

    public static InfluenceTask Task(nn.Module<Tensor, Tensor> model) => new(model)
    {
        TrainingLoss = batch => Losses.CrossEntropy(model.call(batch["x"]), batch["y"]),
    };
}
