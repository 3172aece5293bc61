using Influence.Reports;

namespace Samples.Images;

/// <summary>How a report shows images. Ids are positions in the training set, and in the test set.</summary>
internal sealed record ImageViews
{
    public const string AboutQueries =
        "Test images, those with a wrong prediction first, with the training images that did most to lower the loss of the right answer "
        + "(proponents) and most to raise it (opponents).";

    public required LabelledImages Train { get; init; }

    public required FlippedLabels Labels { get; init; }

    public required LabelledImages Test { get; init; }

    /// <summary>The class that the model says, of each test image.</summary>
    public required IReadOnlyList<long> Predictions { get; init; }

    public ExampleView Training(long id) =>
        Picture(Train, (int)id) with
        {
            Label = LabelledImages.ClassName(Labels.Given[(int)id]),
            Mark = Labels.IsFlipped[(int)id] ? "flipped" : string.Empty,
            Fields = [("true", LabelledImages.ClassName(Train.Labels[(int)id]))],
        };

    public ExampleView Query(long id) =>
        Picture(Test, (int)id) with
        {
            Label = LabelledImages.ClassName(Test.Labels[(int)id]),
            Mark = Predictions[(int)id] == Test.Labels[(int)id] ? string.Empty : "wrong",
            Fields = [("predicted", LabelledImages.ClassName((int)Predictions[(int)id]))],
        };

    private static ExampleView Picture(LabelledImages images, int index) =>
        ExampleView.FromImage(images.Picture(index), LabelledImages.Side);
}
