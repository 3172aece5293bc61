using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Scorers;
using TorchSharp;
using static TorchSharp.torch;

namespace SelectBestTenth;

/// <summary>
/// What strategies go by, from one model that was briefly trained on the pool as it is: the influence of every image on
/// every image of the target, the loss under the given label, and features.
/// </summary>
internal sealed class PoolKnowledge : IDisposable
{
    private PoolKnowledge(InfluenceScores scores, ExampleScores losses, LastLayerFeatures pool, LastLayerFeatures target) =>
        (Scores, Losses, Pool, Target) = (scores, losses, pool, target);

    /// <summary><c>[target, pool]</c>.</summary>
    public InfluenceScores Scores { get; }

    public ExampleScores Losses { get; }

    public LastLayerFeatures Pool { get; }

    public LastLayerFeatures Target { get; }

    public static PoolKnowledge Measure(
        nn.Module<Tensor, Tensor> model,
        SkewedPool pool,
        int seed,
        IProgress<InfluenceProgress> progress,
        CancellationToken cancellationToken
    )
    {
        var task = new InfluenceTask(model) { TrainingLoss = b => Influence.Losses.CrossEntropy(model.call(b["image"]), b["label"]) };
        var images = Examples.FromTensors(("image", pool.Images), ("label", pool.Labels)) with { BatchSize = 250 };
        var target = Examples.FromTensors(("image", pool.TargetImages), ("label", pool.TargetLabels));
        using var curvature = Ekfac.Fit(task, images, new Ekfac.Options { Seed = seed }, progress, cancellationToken);
        return new PoolKnowledge(
            new InfluenceFunction(curvature).Score(task, images, target, progress, cancellationToken),
            new ExampleLosses().Score(task, images, progress, cancellationToken),
            LastLayerFeatures.Of(model, pool.Images, pool.Labels, seed, cancellationToken),
            LastLayerFeatures.Of(model, pool.TargetImages, pool.TargetLabels, seed, cancellationToken)
        );
    }

    public void Dispose()
    {
        Scores.Dispose();
        Pool.Dispose();
        Target.Dispose();
    }
}
