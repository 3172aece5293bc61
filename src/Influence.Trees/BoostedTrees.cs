namespace Influence.Trees;

/// <summary>A model of gradient-boosted trees, as LightGBM wrote it: structure, leaf values, loss and the settings that leaf values follow
/// from.</summary>
/// <remarks>Immutable, in plain memory. Its predictions are LightGBM's: the same comparisons, and sums in the same order.</remarks>
public sealed class BoostedTrees
{
    internal BoostedTrees(IReadOnlyList<Tree> trees, TreeLoss loss, int features, IReadOnlyList<string> names, TrainingSettings settings) =>
        (Trees, LossFunction, FeatureCount, FeatureNames, Settings) = (trees, loss, features, names, settings);

    /// <summary>What the trees were fitted to.</summary>
    public enum LossKind
    {
        /// <summary>Half the squared difference, LightGBM's objective <c>regression</c>.</summary>
        SquaredError,

        /// <summary>Cross-entropy of targets 0 and 1, <c>binary</c>.</summary>
        Binary,

        /// <summary>Cross-entropy of K classes with K trees an iteration, <c>multiclass</c>.</summary>
        Multiclass,
    }

    /// <summary>The loss; scores are rises and falls of it.</summary>
    public LossKind Loss => LossFunction.Kind;

    /// <summary>Raw scores of an example, and trees of an iteration: 1, or the number of classes.</summary>
    public int Outputs => LossFunction.Outputs;

    /// <summary>The score that boosting starts from, one an output: the targets' average where the model was trained so, else
    /// zero.</summary>
    internal double[] Start(double[] targets, double[]? weights = null) =>
        Settings.StartsFromAverage ? LossFunction.Initial(targets, weights) : new double[Outputs];

    /// <summary>Iterations of boosting.</summary>
    public int Iterations => Trees.Count / Outputs;

    /// <summary>Features of an example.</summary>
    public int FeatureCount { get; }

    /// <summary>The features' names.</summary>
    public IReadOnlyList<string> FeatureNames { get; }

    /// <summary>Leaves of all trees together.</summary>
    public int LeafCount => Trees.Sum(t => t.Values.Length);

    /// <summary>The learning rate that the file states.</summary>
    public double LearningRate => Settings.LearningRate;

    /// <summary>The regularisation of leaf values, <c>lambda_l2</c>.</summary>
    public double L2 => Settings.L2;

    internal IReadOnlyList<Tree> Trees { get; }

    internal TreeLoss LossFunction { get; }

    internal TrainingSettings Settings { get; }

    /// <summary>Reads a model that LightGBM saved as text: <c>booster.save_model("model.txt")</c> in Python, <c>LGBM_BoosterSaveModel</c>
    /// in C.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The model.</returns>
    /// <exception cref="InfluenceException">No such file, not such a model, or one of another objective than regression, binary and
    /// multiclass.</exception>
    public static BoostedTrees LoadLightGbm(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        try
        {
            return LightGbmText.Parse(File.ReadAllText(path), path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InfluenceException($"{path} cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Reads a model from the text itself, as <c>model_to_string</c> and <c>LGBM_BoosterSaveModelToString</c> give it.</summary>
    /// <param name="text">The text.</param>
    /// <returns>The model.</returns>
    /// <exception cref="InfluenceException">Not such a model, or one of another objective than regression, binary and
    /// multiclass.</exception>
    public static BoostedTrees ParseLightGbm(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return LightGbmText.Parse(text, "The text");
    }

    /// <summary>Raw scores: the sums of leaf values.</summary>
    /// <param name="examples">Examples; their targets do not matter.</param>
    /// <returns><c>[N, Outputs]</c>.</returns>
    /// <exception cref="InfluenceException">Another number of features.</exception>
    public double[,] Raw(TabularExamples examples)
    {
        CheckWidth(examples, "The examples");
        var raw = new double[examples.Count, Outputs];
        for (var i = 0; i < examples.Count; i++)
        {
            for (var t = 0; t < Trees.Count; t++)
            {
                raw[i, t % Outputs] += Trees[t].Values[Trees[t].LeafOf(examples.Row(i))];
            }
        }

        return raw;
    }

    /// <summary>Predictions: values, the probability of class 1, or the probabilities of the classes.</summary>
    /// <param name="examples">Examples; their targets do not matter.</param>
    /// <returns><c>[N, Outputs]</c>.</returns>
    /// <exception cref="InfluenceException">Another number of features.</exception>
    public double[,] Predict(TabularExamples examples)
    {
        var raw = Raw(examples);
        var (own, prediction) = (new double[Outputs], new double[Outputs]);
        for (var i = 0; i < examples.Count; i++)
        {
            RowOf(raw, i, own);
            LossFunction.Predict(own, prediction);
            for (var k = 0; k < Outputs; k++)
            {
                raw[i, k] = prediction[k];
            }
        }

        return raw;
    }

    /// <summary>Each example's loss: half the squared difference, or cross-entropy.</summary>
    /// <param name="examples">Examples with targets.</param>
    /// <returns>One loss an example; high = the model does not expect the target.</returns>
    /// <exception cref="InfluenceException">Another number of features, or targets that are not the model's.</exception>
    public ExampleScores Losses(TabularExamples examples)
    {
        Check(examples, "The examples");
        var raw = Raw(examples);
        var own = new double[Outputs];
        return ExampleScores.Of(
            examples.Ids,
            [
                .. Enumerable
                    .Range(0, examples.Count)
                    .Select(i =>
                    {
                        RowOf(raw, i, own);
                        return LossFunction.Value(own, examples.TargetArray[i]);
                    }),
            ],
            "Loss of boosted trees"
        );
    }

    internal BoostedTrees With(IReadOnlyList<Tree> trees) => new(trees, LossFunction, FeatureCount, FeatureNames, Settings);

    internal void Check(TabularExamples examples, string who)
    {
        CheckWidth(examples, who);
        long[] wrong = [.. examples.Ids.Where((_, i) => !LossFunction.Fits(examples.TargetArray[i]))];
        if (wrong.Length > 0)
        {
            var first = examples.TargetArray[examples.PositionOf(wrong[0])];
            throw new InfluenceException(
                string.Create(
                    System.Globalization.CultureInfo.InvariantCulture,
                    $"{who} of a model of the loss {Loss} have targets that are {LossFunction.Targets}; {wrong.Length} have not, example "
                        + $"{wrong[0]} has {first}."
                )
            )
            {
                ExampleIds = wrong,
            };
        }
    }

    private void CheckWidth(TabularExamples examples, string who)
    {
        ArgumentNullException.ThrowIfNull(examples);
        if (examples.FeatureCount != FeatureCount)
        {
            throw new InfluenceException(
                $"{who} have {examples.FeatureCount} features, and the model was trained on {FeatureCount}: give "
                    + "the columns of the training, in their order."
            );
        }
    }

    private static void RowOf(double[,] raw, int row, double[] into)
    {
        for (var k = 0; k < into.Length; k++)
        {
            into[k] = raw[row, k];
        }
    }
}
