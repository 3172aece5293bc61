using System.Globalization;

namespace Influence.Trees;

/// <summary>Reads LightGBM's text model, versions 3 and 4. What is not understood is refused by name, for a wrong tree would give wrong
/// scores silently.</summary>
internal sealed class LightGbmText
{
    private readonly string _name;

    private LightGbmText(string name) => _name = name;

    public static BoostedTrees Parse(string text, string name) => new LightGbmText(name).Read(text);

    private BoostedTrees Read(string text)
    {
        string[] lines = [.. text.Split('\n').Select(line => line.Trim())];
        if (lines.FirstOrDefault(line => line.Length > 0) != "tree")
        {
            throw Wrong("it does not begin with the line \"tree\"; write it by LightGBM's save_model, or LGBM_BoosterSaveModelToString");
        }

        var header = new Dictionary<string, string>();
        var trees = new List<Dictionary<string, string>>();
        var parameters = new Dictionary<string, string>();
        var (ended, inParameters) = (false, false);
        foreach (var line in lines)
        {
            switch (line)
            {
                case "average_output":
                    throw Wrong("it is a random forest, whose trees are averaged; models of boosting are read");
                case "end of trees":
                    ended = true;
                    break;
                case "parameters:":
                    inParameters = true;
                    break;
                case "end of parameters":
                    inParameters = false;
                    break;
                default:
                    if (inParameters && line.StartsWith('[') && line.EndsWith(']') && line.Split(':', 2) is [var key, var value])
                    {
                        parameters[key[1..].Trim()] = value[..^1].Trim();
                    }
                    else if (!ended && line.Split('=', 2) is [var field, var content])
                    {
                        if (field == "Tree")
                        {
                            trees.Add([]);
                        }

                        (trees.Count > 0 ? trees[^1] : header)[field] = content;
                    }

                    break;
            }
        }

        if (!ended || trees.Count == 0)
        {
            throw Wrong($"it holds {trees.Count} trees and {(ended ? "its" : "no")} line \"end of trees\"; it is not whole");
        }

        var features = 1 + Whole(header, "max_feature_idx");
        var perIteration = Whole(header, "num_tree_per_iteration");
        var loss = Loss(Get(header, "objective"), Whole(header, "num_class"));
        if (perIteration != loss.Outputs || trees.Count % perIteration != 0)
        {
            throw Wrong($"its objective has {loss.Outputs} trees an iteration, and it says {perIteration} and holds {trees.Count} trees");
        }

        if (parameters.TryGetValue("reg_sqrt", out var root) && root == "1")
        {
            throw Wrong("it was trained on square roots of targets (reg_sqrt); train without it");
        }

        Tree[] read = [.. trees.Select((fields, i) => ReadTree(fields, i, features))];
        var names = header.TryGetValue("feature_names", out var list) ? list.Split(' ', StringSplitOptions.RemoveEmptyEntries) : [];
        return new BoostedTrees(
            read,
            loss,
            features,
            names.Length == features
                ? names
                : [.. Enumerable.Range(0, features).Select(f => string.Create(CultureInfo.InvariantCulture, $"Column_{f}"))],
            new TrainingSettings(parameters, read, perIteration)
        );
    }

    private TreeLoss Loss(string objective, int classes)
    {
        var words = objective.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        switch (words.FirstOrDefault())
        {
            case "regression" or "regression_l2" or "mean_squared_error" or "mse" or "l2" when !words.Contains("sqrt"):
                return new SquaredErrorLoss();
            case "binary":
                var sigmoid = words.FirstOrDefault(w => w.StartsWith("sigmoid:", StringComparison.Ordinal)) is { } word
                    ? Number(word[8..], "sigmoid")
                    : 1;
                return new LogisticLoss(sigmoid);
            case "multiclass" or "softmax" when classes >= 2:
                return new SoftmaxLoss(classes);
            default:
                throw Wrong($"its objective is \"{objective}\"; regression (L2), binary and multiclass are scored");
        }
    }

    private Tree ReadTree(Dictionary<string, string> fields, int number, int features)
    {
        if (fields.TryGetValue("is_linear", out var linear) && linear == "1")
        {
            throw Wrong($"tree {number} has linear models in its leaves; train without linear_tree");
        }

        var leaves = Whole(fields, "num_leaves");
        var sets = Whole(fields, "num_cat", 0);
        var nodes = leaves - 1;
        uint[][] categories = [];
        if (sets > 0)
        {
            var bounds = Wholes(fields, "cat_boundaries", sets + 1);
            uint[] bits =
            [
                .. Get(fields, "cat_threshold")
                    .Split(' ', StringSplitOptions.RemoveEmptyEntries)
                    .Select(w => (uint)Number(w, "cat_threshold")),
            ];
            if (bounds[0] != 0 || bounds[^1] != bits.Length || Enumerable.Range(0, sets).Any(s => bounds[s] > bounds[s + 1]))
            {
                throw Wrong($"tree {number} has cat_boundaries that do not fit its {bits.Length} words of cat_threshold");
            }

            categories = [.. Enumerable.Range(0, sets).Select(s => bits[bounds[s]..bounds[s + 1]])];
        }

        var tree = new Tree
        {
            Features = nodes == 0 ? [] : Wholes(fields, "split_feature", nodes),
            Thresholds = nodes == 0 ? [] : Numbers(fields, "threshold", nodes, infinite: true),
            Decisions = nodes == 0 ? [] : Wholes(fields, "decision_type", nodes),
            Left = nodes == 0 ? [] : Wholes(fields, "left_child", nodes),
            Right = nodes == 0 ? [] : Wholes(fields, "right_child", nodes),
            Sets = categories,
            Values = Numbers(fields, "leaf_value", leaves),
            Shrinkage = fields.TryGetValue("shrinkage", out var shrinkage) ? Number(shrinkage, "shrinkage") : 1,
        };
        CheckShape(tree, number, features, sets);
        return tree;
    }

    /// <summary>Every node and every leaf has one parent, which comes before it: then each row reaches one leaf.</summary>
    private void CheckShape(Tree tree, int number, int features, int sets)
    {
        int[] children = [.. tree.Left, .. tree.Right];
        var whole =
            children.Where(c => c >= 0).Order().SequenceEqual(Enumerable.Range(1, Math.Max(0, tree.Features.Length - 1)))
            && children
                .Where(c => c < 0)
                .Select(c => ~c)
                .Order()
                .SequenceEqual(tree.IsConstant ? [] : Enumerable.Range(0, tree.Values.Length));
        var forward = Enumerable
            .Range(0, tree.Features.Length)
            .All(n => (tree.Left[n] < 0 || tree.Left[n] > n) && (tree.Right[n] < 0 || tree.Right[n] > n));
        if (!whole || !forward)
        {
            throw Wrong($"tree {number} is no tree: each of its nodes and leaves is expected once among left_child and right_child");
        }

        if (tree.Features.Any(f => f < 0 || f >= features))
        {
            throw Wrong($"tree {number} looks at feature {tree.Features.First(f => f < 0 || f >= features)}, and there are {features}");
        }

        if (
            Enumerable
                .Range(0, tree.Features.Length)
                .Any(n => (tree.Decisions[n] & 1) != 0 && !(tree.Thresholds[n] >= 0 && tree.Thresholds[n] < sets))
        )
        {
            throw Wrong($"tree {number} names a set of categories beyond its {sets}");
        }
    }

    private string Get(Dictionary<string, string> fields, string key) =>
        fields.TryGetValue(key, out var value) ? value : throw Wrong($"it has no {key}");

    private int Whole(Dictionary<string, string> fields, string key, int? missing = null) =>
        missing is { } otherwise && !fields.ContainsKey(key) ? otherwise
        : int.TryParse(Get(fields, key), NumberStyles.Integer, CultureInfo.InvariantCulture, out var value) && value >= 0 ? value
        : throw Wrong($"its {key} is \"{Get(fields, key)}\"; a whole number is expected");

    private int[] Wholes(Dictionary<string, string> fields, string key, int count) =>
        [
            .. Numbers(fields, key, count)
                .Select(n =>
                    n == Math.Floor(n) && Math.Abs(n) < int.MaxValue
                        ? (int)n
                        : throw Wrong($"{key} holds {n.ToString(CultureInfo.InvariantCulture)}; whole numbers are expected")
                ),
        ];

    // A threshold that parts missing values from all others is infinite.
    private double[] Numbers(Dictionary<string, string> fields, string key, int count, bool infinite = false)
    {
        var words = Get(fields, key).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return words.Length == count
            ? [.. words.Select(w => infinite && w == "inf" ? double.PositiveInfinity : Number(w, key))]
            : throw Wrong($"{key} has {words.Length} numbers where {count} are expected");
    }

    private double Number(string word, string key) =>
        double.TryParse(word, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number)
            ? number
            : throw Wrong($"{key} holds \"{word}\"; a finite number is expected");

    private InfluenceException Wrong(string why) => new($"{_name} is no LightGBM model that can be read: {why}.");
}
