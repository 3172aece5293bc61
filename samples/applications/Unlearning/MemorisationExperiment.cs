using System.Diagnostics;
using System.Globalization;
using System.Text;
using Influence.Evaluation;
using Influence.Memorisation;
using TorchSharp;
using static TorchSharp.torch;

namespace UnlearningSample;

/// <summary>Feldman and Zhang's memorisation of images of which a tenth are mislabelled, from a bank of models that were trained on random
/// parts of them.</summary>
internal sealed class MemorisationExperiment(Options options, CancellationToken cancellationToken)
{
    private const double Flipped = 0.1;
    private const double Share = 0.7;
    private const int Epochs = 20;
    private const double Threshold = 0.25;

    public string Run(string runs)
    {
        var watch = Stopwatch.StartNew();
        var train = FashionMnist.ReadTraining(options.Data, options.Images / 5);
        var labels = FlippedLabels.Flip(train.Labels, Flipped, seed: 1);
        long[] ids = [.. Enumerable.Range(0, train.Count).Select(i => (long)i)];
        using var images = train.ToTensor();
        using var given = labels.ToTensor();
        var trainer = new Trainer { Epochs = Epochs };
        var bank = new Retraining(runs)
        {
            Settings = string.Create(CultureInfo.InvariantCulture, $"small CNN, {train.Count} images, a tenth flipped, {Epochs} epochs"),
            HigherIsBetter = true,
        }.Run(
            Subsets.Random(ids, Share, options.Bank, seed: 3),
            ids,
            job =>
            {
                using var scope = NewDisposeScope();
                var rows = tensor(job.Ids.ToArray());
                using var model = trainer.Train(
                    images.index_select(0, rows),
                    given.index_select(0, rows),
                    1_000 + job.Index,
                    cancellationToken
                );
                using var noGrad = no_grad();
                return model.call(images).argmax(1).eq(given).to_type(ScalarType.Float64).data<double>().ToArray();
            },
            cancellationToken: cancellationToken
        );
        var found = new FeldmanZhang().Memorisation(bank);
        var values = found.Examples.Select(e => (e.Memorisation.Value, Wrong: labels.IsFlipped[(int)e.Id], e.Memorisation.Lower)).ToList();
        var (wrong, right) = (values.Where(v => v.Wrong).ToList(), values.Where(v => !v.Wrong).ToList());
        var detection = new MislabelDetection().Evaluate(found.Scores, ids.Where(id => labels.IsFlipped[(int)id]));
        var text = new StringBuilder()
            .AppendLine(
                CultureInfo.InvariantCulture,
                $"""
                ## What a small CNN memorises

                {options.Bank} small CNNs, each trained for {Epochs} epochs on {Share:0%} of {train.Count:N0} images of which {labels.FlippedCount} are mislabelled; an example's memorisation is how much more
                often its given label is predicted by models that saw it than by those that did not.

                | | images | mean | above {Threshold} | of these surely above 0 |
                |---|---|---|---|---|
                """
            )
            .AppendLine(Row("mislabelled", wrong))
            .AppendLine(Row("rightly labelled", right))
            .AppendLine()
            .AppendLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"As a detector of wrong labels: AUC {detection.Auc}. The bank took {watch.Elapsed.TotalSeconds:0} s."
                )
            )
            .AppendLine();
        Console.WriteLine(text);
        return text.ToString();

        static string Row(string name, List<(double Value, bool Wrong, double Lower)> of) =>
            string.Create(
                CultureInfo.InvariantCulture,
                $"| {name} | {of.Count} | {of.Average(v => v.Value):0.00} | {of.Average(v => v.Value > Threshold ? 1.0 : 0):0%} | "
                    + $"{of.Where(v => v.Value > Threshold).Select(v => v.Lower > 0 ? 1.0 : 0).DefaultIfEmpty(0).Average():0%} |"
            );
    }
}
