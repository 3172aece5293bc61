using System.Globalization;
using Influence.Quality.Judging;
using Influence.Quality.Reporting;
using Influence.Quality.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Parts;

/// <summary>What every part says about itself.</summary>
internal static class FindingsBuilder
{
    public static Dictionary<string, string> Settings(
        Study study,
        string halves,
        IReadOnlyList<long> seeds,
        IReadOnlyList<long> modelSeeds
    ) =>
        new()
        {
            ["data"] = study.Data.Note,
            ["recipe"] = study.Recipe.Describe(),
            ["checkpoints after epochs"] = string.Join(", ", study.Recipe.CheckpointEpochs),
            ["subsets"] = halves,
            ["seeds of the retrained models"] = string.Join(", ", seeds),
            ["seeds of the models that are scored"] = string.Join(", ", modelSeeds),
            ["measurement"] = "cross-entropy of the query, summed over its positions, in evaluation mode",
        };

    public static Dictionary<string, string> Facts(Study study, nn.Module<Tensor, Tensor> model, Judge judge)
    {
        var (train, test) = (
            Trainer.Measure(model, study.Data.TrainX, study.Data.TrainY).Accuracy,
            Trainer.Measure(model, study.Data.QueryX, study.Data.QueryY).Accuracy
        );
        var facts = new Dictionary<string, string>
        {
            ["accuracy of the scored model, training examples"] = Percent(train),
            ["accuracy of the scored model, queries"] = Percent(test),
            ["parameters"] = model.parameters().Sum(p => p.numel()).ToString("N0", CultureInfo.InvariantCulture),
        };
        if (judge.Ceiling is { } ceiling)
        {
            facts["noise ceiling, LDS attainable against the mean over seeds"] = ceiling.Attainable.ToString();
            facts["noise ceiling, agreement of half the seeds"] = ceiling.HalfAgreement.ToString();
        }

        return facts;

        static string Percent(double share) => share.ToString("P1", CultureInfo.InvariantCulture);
    }
}
