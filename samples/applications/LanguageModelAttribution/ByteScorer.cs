using Influence;
using Influence.Estimators;

namespace LanguageModelAttribution;

/// <summary>Splits the scores of the shown proponents over their bytes, query by query.</summary>
/// <param name="task">The model and its loss.</param>
/// <param name="tokenLosses">The loss before its sum over bytes, <c>[B, T]</c>.</param>
/// <param name="train">The training passages.</param>
/// <param name="queries">The passages to explain.</param>
internal sealed class ByteScorer(
    InfluenceTask task,
    Func<ExampleBatch, TorchSharp.torch.Tensor> tokenLosses,
    Examples train,
    Examples queries
)
{
    /// <summary>The attribution, with scores for each byte of its shown proponents.</summary>
    public Attribution AddTo(
        Attribution attribution,
        InfluenceFunction influence,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        var bytes = new Dictionary<(int Query, long Id), ByteScores>();
        foreach (var (query, top) in attribution.Top.Index())
        {
            var proponents = train.Only(top.Take(Attribution.Shown).Select(proponent => proponent.Id));
            var asked = queries.Only([queries.Ids[query]]);
            using var predictions = influence.ScoreLossTokens(task, proponents, asked, tokenLosses, progress, cancellationToken);
            using var hidden = influence.ScorePositions(task, proponents, asked, progress, cancellationToken);
            foreach (var (place, id) in predictions.TrainIds.Index())
            {
                bytes[(query, id)] = ByteScores.FromPositions(predictions.For(0, place), hidden.For(0, place));
            }
        }

        return attribution with
        {
            Bytes = bytes,
        };
    }
}
