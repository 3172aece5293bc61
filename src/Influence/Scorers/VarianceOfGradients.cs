using Influence.Estimators;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Scorers;

/// <summary>
/// VoG, the variance of gradients: how much the true class's logit u_y changes its dependence on each pixel over a run.
/// <code>
/// S_k = d u_y / d x at checkpoint k, averaged over channels
/// VoG(x) = mean over pixels of sqrt( (1/K) sum over k of (S_k - mean S)^2 )
/// </code>
/// and then standardised within each class: less its class's mean, over its class's standard deviation. High for examples that are hard to
/// learn.
/// </summary>
/// <remarks>
/// <para>
/// It is a standard deviation, as in the paper's formula and code, though its text says variance. For text the gradient is taken with
/// respect to the output of <see cref="Embedding"/>, and its norm over the embedding's dimensions takes the place of a pixel's number.
/// Padding is left out by the task's <see cref="InfluenceTask.PositionMask"/>, there and for inputs whose first dimensions are the mask's,
/// <c>[B, T, D]</c>.
/// </para>
/// <para>
/// Take checkpoints of the early phase to find what is hard, of the late phase to find what was learnt by heart. It is no detector of wrong
/// labels: the logit of a wrong label may depend on the image less than that of the right one. Cost: a forward and a backward
/// pass for each checkpoint. Memory: 16 bytes for each example and pixel, and the example itself; beyond <see cref="MemoryBudget"/> the
/// examples are taken in chunks, and the checkpoints are read once for each chunk, the examples once in all. Unit: standard deviations
/// within the class. Reference: Agarwal, D'souza, Hooker, "Estimating Example Difficulty Using Variance of Gradients", CVPR 2022, section
/// 2.
/// </para>
/// </remarks>
/// <example>
/// <code>
/// var hard = new VarianceOfGradients
/// {
///     Checkpoints = recorder.Checkpoints,
///     Input = "x",
///     Logits = b => model.call(b["x"]),
///     Labels = b => b["y"],
/// }.Score(task, train);
/// </code>
/// </example>
public sealed record VarianceOfGradients : IExampleScorer
{
    /// <summary>The checkpoints to go over, two or more, which count alike; copied.</summary>
    /// <exception cref="InfluenceException">Fewer than two.</exception>
    public required IReadOnlyList<Checkpoint> Checkpoints
    {
        get;
        init => field = CheckpointList.Copy(value ?? throw new ArgumentNullException(nameof(value)), 2, "as one gradient has no variance")!;
    }

    /// <summary>The scores of all classes before the softmax, <c>[B, C]</c>. It reads the input from the batch that it is given.</summary>
    public required Func<ExampleBatch, Tensor> Logits { get; init; }

    /// <summary>Each example's class, <c>[B]</c> of int64.</summary>
    public required Func<ExampleBatch, Tensor> Labels { get; init; }

    /// <summary>The name of the batch's tensor that gradients are taken of; of floating point.</summary>
    /// <value>"x".</value>
    public string Input { get; init; } = "x";

    /// <summary>For text: the layer whose output, <c>[B, T, D]</c>, takes the input's place. It must run once in a forward pass.</summary>
    /// <value>Null: <see cref="Input"/> is differentiated.</value>
    public nn.Module<Tensor, Tensor>? Embedding { get; init; }

    /// <summary>The input's dimension of channels, which are averaged first; 0 for none.</summary>
    /// <value>Null: 1 for inputs of four dimensions, <c>[B, C, H, W]</c>, else none.</value>
    /// <exception cref="InfluenceException">Negative.</exception>
    public int? ChannelAxis
    {
        get;
        init => field = value is { } axis ? Check.AtLeast(axis, 0) : null;
    }

    /// <summary>Whether scores are standardised within each class. A class of one example, or of equal ones, has scores of 0.</summary>
    /// <value>True.</value>
    public bool WithinClass { get; init; } = true;

    /// <summary>Bytes that the running means and deviations, and the examples that wait for the next checkpoint, may take. Cost only, does
    /// not change results.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

    /// <inheritdoc/>
    /// <remarks>The task's losses are not used.</remarks>
    /// <exception cref="InfluenceException">
    /// Bad input: a checkpoint of another model, delegates that return other shapes, logits that do not depend on the input.
    /// </exception>
    public ExampleScores Score(
        InfluenceTask task,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (examples, "examples"));
        using var scope = NewDisposeScope();
        var trainable = ModelParameter.Find(task.Model);
        ModelChecks.Run(task.Model, ModelParameter.ForForward(task.Model));
        using var claim = ModelInUse.Claim(task.Model);
        using var frozen = RequiresGrad.Off([.. trainable.Select(p => p.Value)]);
        using var weights = new WeightKeeper(task.Model, Checkpoints);
        var gradients = new InputGradients(this, task.PositionMask);
        using var reporter = new ProgressReporter(progress, "variance of gradients", Checkpoints.Count, examples.Count, cancellationToken);
        var (values, classes) = (new List<double>(), new List<long>());
        var atOnce = ExamplesAtOnce(gradients, examples);
        var chunk = new List<ExampleBatch>();
        try
        {
            // One pass over the source, whatever it costs to read: batches wait until a chunk is full.
            foreach (var batch in SubBatches.Of(examples, atOnce))
            {
                if (chunk.Sum(b => b.Count) + batch.Count > atOnce)
                {
                    AddChunk(gradients, weights, chunk, values, classes, reporter);
                    Release(chunk);
                }

                chunk.Add(batch.PickApart([.. Enumerable.Range(0, batch.Count)]));
            }

            AddChunk(gradients, weights, chunk, values, classes, reporter);
        }
        finally
        {
            Release(chunk);
        }

        Log.Scored(task.Logger, "VoG", 1, examples.Count, Checkpoints.Count, reporter.Elapsed.TotalSeconds);
        return new ExampleScores(
            "VoG",
            examples.Ids,
            [.. WithinClass ? Standardised(values, classes) : values],
            new ScoreMetadata
            {
                Estimator = "VoG",
                Checkpoints = CheckpointList.Describe(Checkpoints),
                Sign = "high = hard to learn",
                Unit = WithinClass
                    ? "standard deviations within the class"
                    : "standard deviation of the input gradient, mean over the input",
                LossReduction = "none: the true class's logit",
            }
        );
    }

    /// <summary>Less the mean, over the population standard deviation, of each class; 0 where a class does not spread.</summary>
    internal static IEnumerable<double> Standardised(IReadOnlyList<double> values, IReadOnlyList<long> classes)
    {
        var spread = Enumerable
            .Range(0, values.Count)
            .GroupBy(i => classes[i], i => values[i])
            .ToDictionary(
                g => g.Key,
                g =>
                {
                    var mean = g.Average();
                    return (Mean: mean, Deviation: Math.Sqrt(g.Average(v => (v - mean) * (v - mean))), Same: g.Min() == g.Max());
                }
            );
        return values.Select(
            (value, i) => spread[classes[i]] is { Same: false, Deviation: > 0 } own ? (value - own.Mean) / own.Deviation : 0
        );
    }

    private void AddChunk(
        InputGradients gradients,
        WeightKeeper weights,
        List<ExampleBatch> chunk,
        List<double> values,
        List<long> classes,
        ProgressReporter reporter
    )
    {
        var moments = new List<InputGradientMoments>();
        try
        {
            for (var k = 0; k < Checkpoints.Count; k++)
            {
                reporter.Token.ThrowIfCancellationRequested();
                weights.Load(k);
                reporter.Checkpoint(k + 1);
                foreach (var (index, batch) in chunk.Index())
                {
                    reporter.Token.ThrowIfCancellationRequested();
                    using var one = NewDisposeScope();
                    var (gradient, counts, labels) = gradients.Of(batch);
                    if (k == 0)
                    {
                        moments.Add(new InputGradientMoments());
                        classes.AddRange(labels);
                    }

                    moments[index].Add(gradient, counts);
                    reporter.Add(batch.Count);
                }
            }

            values.AddRange(moments.SelectMany(m => m.MeanDeviation()));
        }
        finally
        {
            moments.ForEach(m => m.Dispose());
        }
    }

    private static void Release(List<ExampleBatch> chunk)
    {
        chunk.ForEach(batch => batch.Free());
        chunk.Clear();
    }

    /// <summary>Looks at the first example and its gradient, at the current weights: what cannot work fails here.</summary>
    private int ExamplesAtOnce(InputGradients gradients, Examples examples)
    {
        foreach (var batch in examples.Batches().Take(1))
        {
            using var scope = NewDisposeScope();
            var one = batch.Pick([0]);
            var (gradient, _, _) = gradients.Of(one);
            var bytes = (2 * sizeof(double) * gradient.numel()) + one.Tensors.Sum(tensor => tensor.numel() * tensor.element_size());
            return (int)Math.Clamp(MemoryBudget / bytes, 1, int.MaxValue);
        }

        throw new InfluenceException("There are no examples.");
    }
}
