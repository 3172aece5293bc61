using Influence.Reports;

namespace MislabelledImages;

/// <summary>How the report shows the images, and what it says first.</summary>
internal sealed record Pictures
{
    public const string AboutQueries =
        "Test images, those with a wrong prediction first, with the training images that did most to lower the loss of the right answer "
        + "(proponents) and most to raise it (opponents).";

    public required LabelledImages Train { get; init; }

    public required FlippedLabels Labels { get; init; }

    public required LabelledImages Test { get; init; }

    /// <summary>The explained test images, query by query.</summary>
    public required IReadOnlyList<int> Chosen { get; init; }

    public required IReadOnlyList<long> Predictions { get; init; }

    public IReadOnlyList<string> Summary(Results results) =>
        [
            $"Of the {Train.Count:N0} training images, {Labels.FlippedCount:N0} were given a wrong label at random. A small network "
                + "was trained on them all. Self-influence (TracIn over the checkpoints of that training) says how hard the network had "
                + "to work for each single image; images with a wrong label tend to come first.",
            $"Accuracy on the test set: {results.TestAccuracy:0.0%}. Training took {results.Training.TotalSeconds:0.0} s, scoring "
                + $"{results.Scoring.TotalSeconds:0.0} s.",
        ];

    public ExampleView Training(long id)
    {
        var index = (int)id;
        return Picture(Train, index) with
        {
            Label = LabelledImages.ClassName(Labels.Given[index]),
            Mark = Labels.IsFlipped[index] ? "flipped" : string.Empty,
            Fields = [("true", LabelledImages.ClassName(Train.Labels[index]))],
        };
    }

    public ExampleView Query(long id)
    {
        var index = Chosen[(int)id];
        return Picture(Test, index) with
        {
            Label = LabelledImages.ClassName(Test.Labels[index]),
            Mark = Predictions[index] == Test.Labels[index] ? string.Empty : "wrong",
            Fields = [("predicted", LabelledImages.ClassName((int)Predictions[index])), ("test image", $"{index}")],
        };
    }

    private static ExampleView Picture(LabelledImages images, int index) =>
        ExampleView.FromImage(images.Picture(index), LabelledImages.Side);
}
