using System.Globalization;
using Influence;
using Influence.Groups;

namespace PretrainedTextClassifier;

/// <summary>Trains the pretrained model anew, on some of the training mails, and says how well it does then.</summary>
internal sealed record Retraining
{
    /// <summary>The columns of <see cref="Row(string, IReadOnlyList{long}, int)"/>.</summary>
    public static IReadOnlyList<string> Head { get; } =
    ["trained on", "hard ham, right", "hard ham, loss", "all test mails, right", "hard ham among the picks", "flipped labels among them"];

    /// <summary>Makes the model as it was before any training.</summary>
    public required Func<MailClassifier> Create { get; init; }

    public required Trainer Trainer { get; init; }

    public required MailTensors Train { get; init; }

    public required IReadOnlyList<long> Flipped { get; init; }

    public required MailTensors Test { get; init; }

    public required MailTensors HardTest { get; init; }

    public required IProgress<InfluenceProgress> Progress { get; init; }

    public required CancellationToken Token { get; init; }

    /// <summary>What a model comes to that is trained on these mails alone.</summary>
    public IReadOnlyList<string> Row(string pick, IReadOnlyList<long> ids, int epochs)
    {
        using var model = Trained(ids, epochs);
        return Row(pick, ids, Predictions.Of(model, Test, Token), Predictions.Of(model, HardTest, Token));
    }

    /// <summary>What a trained model comes to.</summary>
    public IReadOnlyList<string> Row(string pick, IReadOnlyList<long> ids, Predictions onTest, Predictions onHard) =>
        [
            $"{pick} ({ids.Count})",
            string.Create(CultureInfo.InvariantCulture, $"{onHard.Accuracy:0.0%}"),
            string.Create(CultureInfo.InvariantCulture, $"{onHard.Loss:0.000}"),
            string.Create(CultureInfo.InvariantCulture, $"{onTest.Accuracy:0.0%}"),
            string.Create(CultureInfo.InvariantCulture, $"{ids.Average(id => Train.Mails[(int)id].Source == Mail.HardHam ? 1.0 : 0):0%}"),
            string.Create(CultureInfo.InvariantCulture, $"{ids.Average(id => Flipped.Contains(id) ? 1.0 : 0):0%}"),
        ];

    /// <summary>What leaving out each source would do to the test mails' loss, and what leaving out that of most influence does.</summary>
    /// <param name="sources">The sum of influences of each source.</param>
    /// <param name="loss">Of the test mails, with all sources.</param>
    /// <param name="measure">Whether to train again without that source.</param>
    public IReadOnlyList<IReadOnlyList<string>> WithoutSources(GroupScores sources, double loss, bool measure)
    {
        var predicted = sources
            .TrainGroups.Select((group, k) => (group.Name, group.Examples, Rise: sources.Sum(0, k) / Train.Mails.Count))
            .ToList();
        var tried = predicted.MaxBy(group => Math.Abs(group.Rise)).Name;
        return
        [
            ["source left out", "mails", "predicted rise", "measured rise"],
            .. predicted.Select(group =>
                (IReadOnlyList<string>)
                    [
                        group.Name,
                        $"{group.Examples}",
                        string.Create(CultureInfo.InvariantCulture, $"{group.Rise:+0.0000;-0.0000}"),
                        measure && group.Name == tried
                            ? string.Create(CultureInfo.InvariantCulture, $"{Measured(group.Name):+0.0000;-0.0000}")
                            : string.Empty,
                    ]
            ),
        ];

        double Measured(string source)
        {
            using var again = Trained(
                [.. Train.Mails.Index().Where(mail => mail.Item.Source != source).Select(mail => (long)mail.Index)],
                Trainer.Epochs
            );
            return Predictions.Of(again, Test, Token).Loss - loss;
        }
    }

    private MailClassifier Trained(IReadOnlyList<long> ids, int epochs)
    {
        var model = Create();
        (Trainer with { Epochs = epochs }).Train(model, Train, ids, null, Progress, Token);
        return model;
    }
}
