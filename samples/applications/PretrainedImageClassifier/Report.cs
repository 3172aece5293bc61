using Influence;
using Influence.Evaluation;
using Influence.Gradients;
using Influence.Reports;

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
