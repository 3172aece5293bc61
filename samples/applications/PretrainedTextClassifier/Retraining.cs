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
        using var model = Trained(Trainer with { Epochs = epochs }, ids);
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

    /// <summary>What leaving out each source does to the test mails' mean loss: as predicted, and after training again without
    /// it.</summary>
    /// <param name="forecasts">At least one; all of the same sources.</param>
    /// <param name="loss">Of the test mails, with all sources.</param>
    /// <param name="measure">Whether to train again.</param>
    /// <returns>A row a source; in the last all mails were kept, and passed in another order.</returns>
    public IReadOnlyList<IReadOnlyList<string>> WithoutSources(IReadOnlyList<SourceForecast> forecasts, double loss, bool measure)
    {
        IReadOnlyList<GroupScores.Row> sources = forecasts[0].Scores.TrainGroups;
        long[] all = [.. Enumerable.Range(0, Train.Mails.Count)];
        List<double[]> rows =
        [
            .. sources.Select(
                (source, k) =>
                    (double[])
                        [
                            .. forecasts.Select(forecast => forecast.Rise(k)),
                            Rise(Trainer, [.. all.Where(mail => Train.Mails[(int)mail].Source != source.Name)]),
                        ]
            ),
            [.. forecasts.Select(_ => 0.0), Rise(Trainer with { Seed = Trainer.Seed + 1 }, all)],
        ];
        return
        [
            ["left out", "mails", .. forecasts.Select(forecast => $"rise by {forecast.Method}"), "rise measured"],
            .. sources
                .Select(source => (source.Name, source.Examples))
                .Append(("none, in another order", 0))
                .Zip(rows, (source, row) => (IReadOnlyList<string>)[source.Name, $"{source.Examples}", .. row.Select(Text)]),
        ];

        double Rise(Trainer trainer, IReadOnlyList<long> ids)
        {
            if (!measure)
            {
                return double.NaN;
            }

            using var again = Trained(trainer, ids);
            return Predictions.Of(again, Test, Token).Loss - loss;
        }

        static string Text(double rise) =>
            double.IsNaN(rise) ? string.Empty : rise.ToString("+0.0000;-0.0000;0", CultureInfo.InvariantCulture);
    }

    private MailClassifier Trained(Trainer trainer, IReadOnlyList<long> ids)
    {
        var model = Create();
        trainer.Train(model, Train, ids, null, Progress, Token);
        return model;
    }
}
