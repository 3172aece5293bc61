using System.Globalization;
using Influence.Display;
using Influence.Estimators;
using Influence.Numerics;
using Influence.Scorers;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Recipes;

/// <summary>
/// Model-aware data selection with data influence models: probes a random sample of the pool (<see cref="ProbeOracle"/>), fits a small
/// model to what it finds (<see cref="DataInfluenceModel"/>), and scores the whole pool with that.
/// </summary>
/// <remarks>
/// <para>
/// Select from the scores by <c>new Selection.Proportional { Standardize = true, Temperature = 0.5 }</c>, Gumbel-top-k as in the paper,
/// and measure anew as the model moves: <see cref="Mates.Run"/>. The paper probes 80,000 examples with the training run's Adam on LAMBADA,
/// fits BERT-base on the text, keeps one fifth, and refreshes every 10,000 steps.
/// </para>
/// <para>
/// Cost: <see cref="Probes"/> times the reference examples in forward passes, and one pass over the pool for its features.
/// Reference: Yu, Das, Xiong, "MATES: Model-Aware Data Selection for Efficient Pretraining with Data Influence Models", NeurIPS 2024.
/// </para>
/// </remarks>
public sealed partial record Mates
{
    private const int LeastExamples = 8;

    /// <summary>Takes what the small model knows.</summary>
    /// <param name="features">What the small model knows of an example.</param>
    public Mates(InfluenceFeatures features)
    {
        ArgumentNullException.ThrowIfNull(features);
        Features = features;
    }

    /// <summary>What the small model knows of an example.</summary>
    public InfluenceFeatures Features { get; }

    /// <summary>How influence is learned from the features.</summary>
    /// <value>Ridge regression.</value>
    public IInfluenceRegression Regression
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    } = new RidgeRegression();

    /// <summary>How many examples of the pool are probed; all of a smaller pool.</summary>
    /// <value>1,000.</value>
    /// <exception cref="InfluenceException">Fewer than eight.</exception>
    public int Probes
    {
        get;
        init => field = value >= LeastExamples ? value : throw new InfluenceException($"Probes is at least {LeastExamples}, not {value}.");
    } = 1000;

    /// <summary>The share of the probes that is kept out of the fit, for the rank correlation.</summary>
    /// <value>0.2.</value>
    /// <exception cref="InfluenceException">Not between 0 and 1.</exception>
    public double HeldOut
    {
        get;
        init => field = HeldOutPart.Share(value, nameof(HeldOut));
    } = 0.2;

    /// <summary>Of the sample, the part kept out, and the regression.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Probes, fits, and scores the pool, at the model's present weights.</summary>
    /// <param name="task">The model in evaluation mode, its training loss and its measurement; left as it was found.</param>
    /// <param name="pool">N examples to choose from.</param>
    /// <param name="reference">The examples whose measurement is to fall.</param>
    /// <param name="optimizer">Makes the optimizer for one step; see <see cref="ProbeOracle"/>.</param>
    /// <param name="progress">Told after each probe and batch.</param>
    /// <param name="cancellationToken">Checked before each probe and batch.</param>
    /// <returns>The scores of the pool, and what they rest on.</returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Result Score(
        InfluenceTask task,
        Examples pool,
        Examples reference,
        Func<nn.Module, optim.Optimizer> optimizer,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (pool, "pool"), (reference, "reference examples"));
        var random = new KeyedRandom(Seed, "probes");
        long[] sample = [.. pool.Ids.OrderBy(random.Of).Take(Probes)];
        CheckBeforeProbing(pool, sample, cancellationToken);
        var measured = new ProbeOracle { Reference = reference, Optimizer = optimizer }.Score(
            task,
            pool.Only(sample),
            progress,
            cancellationToken
        );
        using var model = DataInfluenceModel.Fit(measured, pool, Features, Regression, HeldOut, Seed, progress, cancellationToken);
        return new Result(
            model.Predict(pool, progress, cancellationToken),
            measured,
            model.HeldOutIds,
            model.HeldOutCorrelation,
            model.Description
        );
    }

    /// <summary>Probing takes long: what the fit would refuse afterwards is refused first.</summary>
    private void CheckBeforeProbing(Examples pool, long[] sample, CancellationToken token)
    {
        if (pool.Count < LeastExamples)
        {
            throw new InfluenceException($"The pool holds at least {LeastExamples} examples, as many as a fit needs; found {pool.Count}.");
        }

        Features.Read(pool.Only(sample.Take(LeastExamples)), (_, _) => { }, null, token);
    }

    /// <summary>What <see cref="Mates"/> found. Plain memory; nothing to dispose.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        internal Result(
            ExampleScores scores,
            ExampleScores measured,
            IReadOnlyList<long> heldOutIds,
            double heldOutCorrelation,
            string description
        ) =>
            (Scores, Measured, HeldOutIds, HeldOutCorrelation, Description) = (
                scores,
                measured,
                heldOutIds,
                heldOutCorrelation,
                description
            );

        /// <summary>The predicted influence of the whole pool, to select by.</summary>
        public ExampleScores Scores { get; }

        /// <summary>The measured influence of the sample.</summary>
        public ExampleScores Measured { get; }

        /// <summary>The part of the sample that the fit did not see.</summary>
        public IReadOnlyList<long> HeldOutIds { get; }

        /// <summary>The rank correlation of predicted and measured influence on that part; NaN where one of them is constant
        /// there.</summary>
        public double HeldOutCorrelation { get; }

        /// <summary>The small model.</summary>
        public string Description { get; }

        /// <summary>A table of the highest scores, with what they rest on.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"MATES: {Scores.Count:N0} examples from {Measured.Count:N0} probes, held-out "
                        + $"rank correlation {HeldOutCorrelation:0.000} ({Description})"
                ),
                ["rank", "id", "predicted influence"],
                [.. Scores.Highest(Math.Min(Scores.Count, Table.MaximumRows)).Select(e => (IReadOnlyList<object>)[e.Rank, e.Id, e.Score])],
                Scores.Count
            );
    }
}
