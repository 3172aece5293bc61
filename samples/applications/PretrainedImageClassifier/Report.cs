using Influence;
using Influence.Evaluation;
using Influence.Gradients;
using Influence.Reports;

namespace PretrainedImageClassifier;

/// <summary>The run as a page: the figures, the strongest suspects, the explained test images.</summary>
internal sealed record Report
{
    private const int Suspects = 50;

    private const string AboutQueries =
        "Test images, those with a wrong prediction first, with the training images that did most to lower the loss of the right answer "
        + "(proponents) and most to raise it (opponents).";

    public required string Summary { get; init; }

    public required IReadOnlyList<(string Ranking, MislabelDetection.Result Result)> Found { get; init; }

    /// <summary>The head first.</summary>
    public required IReadOnlyList<IReadOnlyList<string>> Costs { get; init; }

    public required ParameterCoverage Coverage { get; init; }

    public required LabelledImages Train { get; init; }

    public required FlippedLabels Labels { get; init; }

    public required LabelledImages Test { get; init; }

    /// <summary>The class that the model says, of each test image.</summary>
    public required IReadOnlyList<long> Predictions { get; init; }

    public InfluenceReport ToPage(ExampleScores suspicion, ExampleScores losses, InfluenceScores explanations) =>
        new InfluenceReport("A pretrained ResNet-18 on Fashion-MNIST with wrong labels") { Summary = [Summary] }
            .Detection(Found)
            .Suspects(suspicion, Training, Suspects, beside: [losses], heading: "Suspects, by EK-FAC's self-influence")
            .Queries(explanations, Training, Query, count: 3, heading: "Why the network says so", note: AboutQueries)
            .Table(
                "What it took",
                Costs[0],
                Costs.Skip(1),
                "Seconds by the clock and of the processor, the latter also in plain epochs of training (forward, backward and AdamW); "
                    + "memory is the process's."
            )
            .Coverage(Coverage);

    private ExampleView Training(long id) =>
        Picture(Train, (int)id) with
        {
            Label = LabelledImages.ClassName(Labels.Given[(int)id]),
            Mark = Labels.IsFlipped[(int)id] ? "flipped" : string.Empty,
            Fields = [("true", LabelledImages.ClassName(Train.Labels[(int)id]))],
        };

    private ExampleView Query(long id) =>
        Picture(Test, (int)id) with
        {
            Label = LabelledImages.ClassName(Test.Labels[(int)id]),
            Mark = Predictions[(int)id] == Test.Labels[(int)id] ? string.Empty : "wrong",
            Fields = [("predicted", LabelledImages.ClassName((int)Predictions[(int)id]))],
        };

    private static ExampleView Picture(LabelledImages images, int index) =>
        ExampleView.FromImage(images.Picture(index), LabelledImages.Side);
}
