using Influence;
using Influence.Evaluation;

namespace MislabelledImages;

/// <summary>Lays the run out on a page: the figures, the strongest suspects, the explained test images.</summary>
internal sealed record Report
{
    public const int SuspectCount = 60;

    public required LabelledImages Train { get; init; }

    public required FlippedLabels Labels { get; init; }

    public required LabelledImages Test { get; init; }

    public required Results Results { get; init; }

    /// <summary>The training images with the highest self-influence, highest first.</summary>
    public required RankedExamples Suspects { get; init; }

    public required IReadOnlyList<Explanation> Explanations { get; init; }

    public HtmlPage ToPage()
    {
        var page = new HtmlPage("Mislabelled images in Fashion-MNIST")
            .Paragraph(
                $"Of the {Train.Count:N0} training images, {Labels.FlippedCount:N0} were given a wrong label at random. A " +
                "small network was trained on them all. Self-influence (TracIn over the checkpoints of that training) says " +
                "how hard the network had to work for each single image; images with a wrong label tend to come first.")
            .Heading("How well the flipped labels are found")
            .Table(
            [
                ["ranking by", "AUC", "recall@10%", "recall@20%"],
                .. Results.Detections.Select(d => Row(d.Ranking, d.Detection)),
            ])
            .Paragraph(
                "Loss is the trained network's loss under the given label. AUC: the probability that a flipped label ranks " +
                "before a right one. Recall: the share of the flipped labels within the first tenth, or fifth, of the " +
                $"ranking. Accuracy on the test set: {Results.TestAccuracy:0.0%}. Training took " +
                $"{Results.Training.TotalSeconds:0.0} s, scoring {Results.Scoring.TotalSeconds:0.0} s.");

        page.Heading($"The {Suspects.Count} strongest suspects")
            .Paragraph($"{Suspects.Count(s => Labels.IsFlipped[(int)s.Id])} of them were flipped; those have a red frame.")
            .Cards(Suspects.Select(TrainingCard));

        page.Heading("Why the network says so")
            .Paragraph(
                "Test images, those with a wrong prediction first, with the training images that did most to lower the loss " +
                "of the right answer (proponents) and most to raise it (opponents).");
        foreach (var explanation in Explanations)
        {
            page.CardGroups(
                ($"Test image {explanation.TestImage}", [TestCard(explanation)]),
                ("Proponents", explanation.Proponents.Select(TrainingCard)),
                ("Opponents", explanation.Opponents.Select(TrainingCard)));
        }

        return page;
    }

    private static IEnumerable<string> Row(string ranking, MislabelDetection.Result detection) =>
        [ranking, $"{detection.Auc.Value:0.0000}", $"{detection.RecallAt(0.1):0.0%}", $"{detection.RecallAt(0.2):0.0%}"];

    private PictureCard TrainingCard(RankedExample example)
    {
        var index = (int)example.Id;
        var flipped = Labels.IsFlipped[index];
        return new PictureCard(
            Picture(Train, index),
            [$"given: {LabelledImages.ClassName(Labels.Given[index])}", $"true: {LabelledImages.ClassName(Train.Labels[index])}"],
            Score: $"#{index}, {example.Score:+0.00;-0.00}",
            Mark: flipped ? "flipped" : string.Empty,
            Kind: flipped ? "flipped" : string.Empty);
    }

    private PictureCard TestCard(Explanation explanation)
    {
        var label = Test.Labels[explanation.TestImage];
        var wrong = explanation.Predicted != label;
        return new PictureCard(
            Picture(Test, explanation.TestImage),
            [$"predicted: {LabelledImages.ClassName(explanation.Predicted)}", $"true: {LabelledImages.ClassName(label)}"],
            Mark: wrong ? "wrong" : string.Empty,
            Kind: wrong ? "wrong" : string.Empty);
    }

    private static string Picture(LabelledImages images, int index) => Png.ToDataUri(images.Picture(index), LabelledImages.Side);
}
