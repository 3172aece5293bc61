using System.Globalization;
using Influence;

namespace PretrainedImageClassifier;

/// <summary>Lays the run out on a page: the figures, the strongest suspects, the explained test images.</summary>
internal sealed record Report
{
    public const int SuspectCount = 50;

    public required string Summary { get; init; }

    public required IReadOnlyList<IReadOnlyList<string>> Found { get; init; }

    public required IReadOnlyList<IReadOnlyList<string>> Costs { get; init; }

    public required LabelledImages Train { get; init; }

    public required FlippedLabels Labels { get; init; }

    public required LabelledImages Test { get; init; }

    /// <summary>The training images with the highest self-influence, highest first.</summary>
    public required RankedExamples Suspects { get; init; }

    public required IReadOnlyList<Explained> Explanations { get; init; }

    public HtmlPage ToPage()
    {
        var page = new HtmlPage("A pretrained ResNet-18 on Fashion-MNIST with wrong labels")
            .Paragraph(Summary)
            .Heading("How well the flipped labels are found")
            .Table(Found)
            .Paragraph("AUC: the probability that a flipped label ranks before a right one, with a 95% interval.")
            .Heading("What it took")
            .Table(Costs)
            .Paragraph("Seconds by the clock and of the processor, the latter also in plain epochs of training (forward, backward and AdamW); memory is the process's.")
            .Heading($"The {Suspects.Count} strongest suspects, by EK-FAC's self-influence")
            .Paragraph($"{Suspects.Count(s => Labels.IsFlipped[(int)s.Id])} of them were flipped; those have a red frame.")
            .Cards(Suspects.Select(TrainingCard))
            .Heading("Why the network says so")
            .Paragraph(
                "Test images, those with a wrong prediction first, with the training images that did most to lower the loss of the right answer " +
                "(proponents) and most to raise it (opponents).");
        foreach (var explanation in Explanations)
        {
            page.CardGroups(
                ($"Test image {explanation.TestImage}", [TestCard(explanation)]),
                ("Proponents", explanation.Proponents.Select(TrainingCard)),
                ("Opponents", explanation.Opponents.Select(TrainingCard)));
        }

        return page;
    }

    private PictureCard TrainingCard(RankedExample example)
    {
        var index = (int)example.Id;
        var kind = Labels.IsFlipped[index] ? "flipped" : string.Empty;
        return new PictureCard(
            Picture(Train, index),
            [$"given: {LabelledImages.ClassName(Labels.Given[index])}", $"true: {LabelledImages.ClassName(Train.Labels[index])}"],
            Score: string.Create(CultureInfo.InvariantCulture, $"#{index}, {example.Score:+0.00;-0.00}"),
            Mark: kind,
            Kind: kind);
    }

    private PictureCard TestCard(Explained explanation)
    {
        var label = Test.Labels[explanation.TestImage];
        var kind = explanation.Predicted == label ? string.Empty : "wrong";
        return new PictureCard(
            Picture(Test, explanation.TestImage),
            [$"predicted: {LabelledImages.ClassName(explanation.Predicted)}", $"true: {LabelledImages.ClassName(label)}"],
            Mark: kind,
            Kind: kind);
    }

    private static string Picture(LabelledImages images, int index) => Png.ToDataUri(images.Picture(index), LabelledImages.Side);
}
