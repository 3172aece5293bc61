using Influence.Estimators;
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

    /// <summary>The checkpoints after some of the recipe's <see cref="Recipe.CheckpointEpochs"/>.</summary>
    public IReadOnlyList<Checkpoint> After(IEnumerable<int> epochs) => [.. epochs.Select(After)];

    /// <summary>
    /// SOURCE's segments of consecutive checkpoints, with the mean of the recipe's learning rate over each: the rates at the
    /// checkpoints themselves would be too low where the rate falls.
    /// </summary>
    public IReadOnlyList<Source.Segment> Segments(IReadOnlyList<int> epochs, int count)
    {
        var (segments, start) = (new List<Source.Segment>(), 0L);
        foreach (var own in epochs.Chunk(epochs.Count / count))
        {
            var end = After(own[^1]).Step;
            var middle = (start + end) / 2.0 / Checkpoints[^1].Step;
            segments.Add(new Source.Segment(After(own), end - start, recipe.LearningRate * (recipe.RateFalls ? 1 - middle : 1)));
            start = end;
        }

        return segments;
    }

    /// <summary>The model at a checkpoint, in evaluation mode; the caller disposes it.</summary>
    public nn.Module<Tensor, Tensor> At(Checkpoint checkpoint)
    {
        var model = recipe.Create();
        checkpoint.LoadInto(model);
        model.eval();
        return model;
    }

    public nn.Module<Tensor, Tensor> AtTheEnd() => At(Checkpoints[^1]);

    private Checkpoint After(int epoch) => Checkpoints[recipe.CheckpointEpochs.Index().First(e => e.Item == epoch).Index];

    public static InfluenceTask Task(nn.Module<Tensor, Tensor> model) =>
        new(model) { TrainingLoss = batch => Losses.CrossEntropy(model.call(batch["x"]), batch["y"]) };
}
