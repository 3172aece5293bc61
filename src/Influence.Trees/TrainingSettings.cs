using System.Globalization;

namespace Influence.Trees;

/// <summary>What the model's own list of parameters says of how leaf values came about.</summary>
internal sealed class TrainingSettings
{
    public TrainingSettings(IReadOnlyDictionary<string, string> parameters, IReadOnlyList<Tree> trees, int perIteration)
    {
        var later = trees.Count > perIteration ? trees[^1].Shrinkage : (double?)null;
        LearningRate = Number("learning_rate", later ?? trees[0].Shrinkage);
        L2 = Number("lambda_l2", 0);
        CategoricalL2 = Number("cat_l2", 10);
        StartsFromAverage = Number("boost_from_average", trees[0].Shrinkage == 1 && later is not null and not 1 ? 1 : 0) != 0;
        var odd = new List<string>();
        foreach (
            var (key, usual) in new[]
            {
                ("lambda_l1", 0.0),
                ("max_delta_step", 0),
                ("path_smooth", 0),
                ("is_unbalance", 0),
                ("scale_pos_weight", 1),
                ("use_quantized_grad", 0),
            }
        )
        {
            if (Number(key, usual) != usual)
            {
                odd.Add($"{key} = {parameters[key]}");
            }
        }

        if (
            Number("bagging_freq", 0) > 0
            && (Number("bagging_fraction", 1) < 1 || Number("pos_bagging_fraction", 1) < 1 || Number("neg_bagging_fraction", 1) < 1)
        )
        {
            odd.Add("bagging");
        }

        if (parameters.GetValueOrDefault("data_sample_strategy") == "goss" || parameters.GetValueOrDefault("boosting") == "goss")
        {
            odd.Add("one-sided sampling (goss)");
        }

        Odd = odd;
        IsDart = parameters.GetValueOrDefault("boosting") == "dart";

        double Number(string key, double otherwise) =>
            parameters.TryGetValue(key, out var text)
            && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value)
                ? value
                : otherwise;
    }

    public double LearningRate { get; }

    public double L2 { get; }

    public double CategoricalL2 { get; }

    /// <summary>Whether the first iteration's leaves include the best constant score.</summary>
    public bool StartsFromAverage { get; }

    /// <summary>Settings under which leaf values are not minus the gradients' sum over the second derivatives' sum of all
    /// examples.</summary>
    public IReadOnlyList<string> Odd { get; }

    public bool IsDart { get; }

    /// <summary>The rate that a tree's values include. Where the initial score was added, the file says 1.</summary>
    public double RateOf(Tree tree, bool first) => first && tree.Shrinkage == 1 ? LearningRate : tree.Shrinkage;
}
