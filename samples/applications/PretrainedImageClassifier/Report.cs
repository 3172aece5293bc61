using System.Globalization;
using Influence;
using Influence.Evaluation;
using Influence.Gradients;
using Influence.Reports;
using static TorchSharp.torch;

namespace PretrainedImageClassifier;

/// <summary>The run as a page: the figures, the strongest suspects, the explained test images.</summary>
internal sealed record Report
{
    private const int Suspects = 50;

    public required string Summary { get; init; }

    public required IReadOnlyList<(string Ranking, MislabelDetection.Result Result)> Found { get; init; }

    /// <summary>The head first.</summary>
    public required IReadOnlyList<IReadOnlyList<string>> Costs { get; init; }

    public required ParameterCoverage Coverage { get; init; }

    public required ImageViews Images { get; init; }

    /// <summary>What was trained on what, and how well it does.</summary>
    public static string Describe(
        nn.Module model,
        LabelledImages train,
        FlippedLabels labels,
        LabelledImages test,
        IReadOnlyList<long> predictions,
        Options options,
        int side
    )
    {
        var accuracy = predictions.Index().Average(p => p.Item == test.Labels[p.Index] ? 1.0 : 0.0);
        return string.Create(
            CultureInfo.InvariantCulture,
            $"A pretrained ResNet-18 with a new head, {model.parameters().Where(p => p.requires_grad).Sum(p => p.numel()):N0} of "
                + $"{model.parameters().Sum(p => p.numel()):N0} parameters trained by AdamW for {options.Epochs} epochs on "
                + $"{train.Count:N0} images of {side} x {side} pixels, {labels.FlippedCount:N0} labels flipped (seed {options.Seed}). "
                + $"Right on {accuracy:0.0%} of {test.Count:N0} test images."
        );
    }

    /// <summary>How well each ranking finds the flipped labels, and one at random.</summary>
    public static IReadOnlyList<(string Ranking, MislabelDetection.Result Result)> Detect(
        ExampleScores suspicion,
        ExampleScores tracIn,
        ExampleScores losses,
        FlippedLabels labels,
        int seed
    )
    {
        var random = Randomness.For(seed, "random ranking");
        return Detections.Of(
            [
                ("EK-FAC, self-influence", suspicion),
                ("TracIn, self-influence", tracIn),
                ("loss", losses),
                ("random", ExampleScores.Of(losses.Ids, [.. losses.Ids.Select(_ => random.NextDouble())])),
            ],
            [.. labels.IsFlipped.Index().Where(label => label.Item).Select(label => (long)label.Index)]
        );
    }

    public InfluenceReport ToPage(ExampleScores suspicion, ExampleScores losses, InfluenceScores explanations) =>
        new InfluenceReport("A pretrained ResNet-18 on Fashion-MNIST with wrong labels") { Summary = [Summary] }
            .Detection(Found)
            .Suspects(suspicion, Images.Training, Suspects, beside: [losses], heading: "Suspects, by EK-FAC's self-influence")
            .Queries(
                explanations,
                Images.Training,
                Images.Query,
                count: 3,
                heading: "Why the network says so",
                note: ImageViews.AboutQueries
            )
            .Table(
                "What it took",
                Costs[0],
                Costs.Skip(1),
                "Seconds by the clock and of the processor, the latter also in plain epochs of training (forward, backward and AdamW); "
                    + "memory is the process's."
            )
            .Coverage(Coverage);
}
