using Influence.Estimators;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Scorers;

/// <summary>
/// The spectrum of each example's gradient G of each linear layer's weight, with singular values sigma and p = sigma / sum sigma:
/// <code>
/// nuclear norm   = sum sigma                 how much the example wants to change
/// effective rank = exp(-sum p ln p)          in how many directions, 1 to the rank
/// </code>
/// and the cosines between the gradients of layers of equal shape. In the paper's experience, data of better quality has a lower
/// nuclear norm and a higher effective rank.
/// </summary>
/// <remarks>
/// <para>
/// Exact, in float64 whatever the model's dtype. With fewer positions T than inputs and outputs G is never formed: with
/// Delta' = Q_d R_d <c>[O, T]</c> and a' = Q_a R_a <c>[I, T]</c> its singular values are those of R_d R_a' <c>[T, T]</c>. Cost for each
/// layer and example: about (O + I) T^2 + 10 T^3 operations, else O I T and a singular value decomposition of <c>[O, I]</c>.
/// </para>
/// <para>
/// A gradient of zero has nuclear norm, effective rank and cosines of 0; with one position G has one direction, its nuclear norm is its
/// norm and its effective rank 1. Convolutions, biases and weights that several layers share
/// have no spectrum here. Reference: Li, Li, Li, Zhou, "How Instruction and Reasoning Data shape Post-Training: Data Quality through
/// the Lens of Layer-wise Gradients", 2025; effective rank: Roy, Vetterli, EUSIPCO 2007.
/// </para>
/// </remarks>
public sealed partial record GradientSpectra
{
    /// <summary>Pairs of layers whose gradients are compared, by the names of <see cref="Result.Layers"/>; of equal shape.</summary>
    /// <value>
    /// Null: found by name. A layer with the next one whose name differs in numbers only and whose shape is the same
    /// (<c>blocks.0.q</c> and <c>blocks.1.q</c>), and the query, key and value projections of one attention with each other.
    /// </value>
    public IReadOnlyList<(string First, string Second)>? Pairs { get; init; }

    /// <summary>Bytes that written-out gradients may take, where there are many positions. Cost only, does not change results.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

    /// <summary>Takes the spectra of every example's gradients at the model's current weights.</summary>
    /// <param name="task">The model and its training loss; its layers decide which are looked at. The model is left as it was
    /// found.</param>
    /// <param name="examples">N examples.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>Nuclear norms, effective ranks and cosines.</returns>
    /// <exception cref="InfluenceException">Bad input, no linear layer, or pairs of layers that there are not or that differ in
    /// shape.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Result Score(
        InfluenceTask task,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (examples, "examples"));
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var reporter = new ProgressReporter(progress, "gradient spectra", 1, examples.Count, cancellationToken);
        using var session = GradientSession.Open(task, examples, queries: null, memory: MemoryBudget);
        var layers = Layers(session);
        var pairs = Pairs is null ? LayerPairs.Find(layers) : LayerPairs.Named(layers, Pairs);
        var (nuclear, ranks, cosines) = (new List<double[]>(), new List<double[]>(), new List<double[]>());
        foreach (var part in SubBatches.Within(session, examples, LossKind.Training, MemoryBudget, sizeof(double)))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var batch = session.Capture(part, LossKind.Training);
            var (values, products) = OfBatch(batch, layers, pairs);
            AddRows(nuclear, batch.Count, [.. values.Select(v => v[0])]);
            AddRows(ranks, batch.Count, [.. values.Select(v => v[1])]);
            AddRows(cosines, batch.Count, products);
            reporter.Add(batch.Count);
        }

        Log.Scored(task.Logger, "gradient spectra", 1, examples.Count, 1, reporter.Elapsed.TotalSeconds);
        return new Result(
            examples.Ids,
            [.. layers.Select(l => l.Name)],
            [.. pairs.Select(p => (layers[p.First].Name, layers[p.Second].Name))],
            nuclear,
            ranks,
            cosines,
            Metadata(task, session, layers)
        );
    }

    /// <summary>Layer by layer: factors are kept only for a layer that a later one is compared with.</summary>
    /// <returns>Three numbers <c>[3, B]</c> for each layer, and <c>[B]</c> cosines for each pair.</returns>
    private static (double[][][] Values, double[][] Cosines) OfBatch(
        BatchGradients batch,
        List<SpectralLayer> layers,
        List<(int First, int Second)> pairs
    )
    {
        var (values, cosines) = (new double[layers.Count][][], new double[pairs.Count][]);
        var kept = new Dictionary<int, GradientFactors?>();
        try
        {
            for (var k = 0; k < layers.Count; k++)
            {
                var factors = kept[k] = GradientFactors.Of(batch, layers[k].Block);
                values[k] = factors?.Spectrum() ?? GradientFactors.NoSpectrum(batch.Count);
                for (var p = 0; p < pairs.Count; p++)
                {
                    if (Math.Max(pairs[p].First, pairs[p].Second) == k)
                    {
                        var other = Math.Min(pairs[p].First, pairs[p].Second);
                        cosines[p] = GradientFactors.Cosine(kept[other], factors, values[other][2], values[k][2]);
                        kept[other]?.Release();
                    }
                }

                foreach (
                    var done in kept
                        .Keys.Where(layer =>
                            !pairs.Any(pair => Math.Max(pair.First, pair.Second) > k && Math.Min(pair.First, pair.Second) == layer)
                        )
                        .ToList()
                )
                {
                    kept[done]?.Dispose();
                    kept.Remove(done);
                }

                factors?.Release();
            }

            return (values, cosines);
        }
        finally
        {
            foreach (var factors in kept.Values)
            {
                factors?.Dispose();
            }
        }
    }

    /// <summary>Columns <c>[B]</c> as one row for each example.</summary>
    private static void AddRows(List<double[]> rows, int count, double[][] columns)
    {
        for (var i = 0; i < count; i++)
        {
            rows.Add([.. columns.Select(column => column[i])]);
        }
    }

    private static List<SpectralLayer> Layers(GradientSession session)
    {
        var found = new List<SpectralLayer>();
        for (var k = 0; k < session.Blocks.Count; k++)
        {
            if (session.Blocks[k].Uses is [{ Layer.Rule: LinearRule, Weight: true } use])
            {
                // A projection of a packed weight is so many of its rows.
                var weight = session.Blocks[k].Parts[0];
                var inputs = weight.Parameter.Value.shape[^1];
                found.Add(new SpectralLayer(k, Name(weight.Name, use.Layer.Path), weight.Count / inputs, inputs));
            }
        }

        return found.Count > 0
            ? found
            : throw new InfluenceException(
                "Spectra are those of linear layers' weights, but among the layers that take part there is none: "
                    + $"{InfluenceException.List(session.BlockNames)}. "
                    + "Choose others by Layers, or use GraNd for the norms of any layer's gradients."
            );

        static string Name(string parameter, string path) => parameter == path + ".weight" ? path : parameter;
    }

    private static ScoreMetadata Metadata(InfluenceTask task, GradientSession session, List<SpectralLayer> layers)
    {
        var shared = session
            .Blocks.Where(block => block.Uses.Count > 1 && block.Uses.Any(use => use.Layer.Rule is LinearRule))
            .Select(block => block.Name)
            .ToList();
        return new ScoreMetadata
        {
            Estimator = "gradient spectra",
            Sign = "by metric: a low nuclear norm and a high effective rank were seen with data of better quality",
            Unit = "nuclear norm: that of the gradient; effective rank: directions",
            Layers = task.Layers.Description,
            Coverage =
                layers.Sum(layer => (double)layer.Outputs * layer.Inputs) / session.Trainable.DistinctBy(p => p.Storage).Sum(p => p.Count),
            Notes = shared.Count == 0 ? string.Empty : $"without the shared weights {InfluenceException.List(shared)}",
        };
    }
}
