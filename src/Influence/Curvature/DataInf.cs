using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// DataInf: in each block of parameters, the mean of inverses in place of the inverse of the mean, each by a closed form.
/// <code>(1/N) sum over i of (g_i g_i' + damping I)^-1 g = (1/(N damping)) sum over i of [ g - g_i (g_i . g) / (damping + |g_i|^2) ]</code>
/// </summary>
/// <remarks>
/// <para>
/// No matrix and no iteration, but biased for N above 1: the mean of inverses is larger than the inverse of the mean, by how much differs
/// from block to block. Ranks are often right where the scale is not. Meant for small blocks, such as LoRA's.
/// </para>
/// <para>
/// Cost: each use passes over the training examples again and writes their gradients out, one batch at a time. Memory: one
/// batch's gradients. Reference: Kwon, Wu, Wu, Zou, "DataInf: Efficiently Estimating Data Influence in LoRA-tuned LLMs and Diffusion
/// Models", ICLR 2024, equation 5.
/// </para>
/// <para>It keeps references to the training examples, which stay the caller's: keep them until the last use.</para>
/// </remarks>
public sealed partial class DataInf : Preconditioner
{
    private readonly Examples _train;
    private readonly LossKind _labels;
    private readonly double[] _meanEigenvalues;

    private DataInf(CurvatureInfo info, Examples train, LossKind labels, double[] meanEigenvalues)
        : base(info) => (_train, _labels, _meanEigenvalues) = (train, labels, meanEigenvalues);

    /// <summary>Measures each block's mean squared gradient, in one pass; the rest happens where it is used.</summary>
    /// <param name="task">The model and its loss; in evaluation mode.</param>
    /// <param name="train">The N training examples that the curvature is the mean over.</param>
    /// <param name="options">Labels and damping; null: the defaults.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The preconditioner; dispose it.</returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static DataInf Fit(
        InfluenceTask task,
        Examples train,
        Options? options = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        options ??= new Options();
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        ArgumentNullException.ThrowIfNull(train);
        using var reporter = new ProgressReporter(progress, "DataInf fit", 1, train.Count, cancellationToken);
        using var session = CurvatureSolver.Open(task, train);
        session.Losses.Seed = options.Seed;
        var labels = options.Fisher == Fisher.Sampled ? LossKind.Sampled : LossKind.Training;
        var sizes = new ParameterVector(session).BlockRanges;
        var sums = new double[sizes.Count];
        foreach (var examples in session.Batches(train, labels))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var batch = session.Capture(examples, labels);
            for (var k = 0; k < sums.Length; k++)
            {
                if (batch.Blocks[k] is { } block)
                {
                    using var one = NewDisposeScope();
                    var norms = block.SquaredNorms(); // [B]
                    CheckFinite(norms, batch);
                    sums[k] += norms.sum(ScalarType.Float64).item<double>();
                    block.Release();
                }
            }

            reporter.Add(examples.Count);
        }

        Log.Fitted(task.Logger, "DataInf", train.Count, reporter.Elapsed.TotalSeconds);
        var info = new CurvatureInfo
        {
            Method = "DataInf",
            Matrix =
                options.Fisher == Fisher.Sampled ? "true Fisher, labels sampled from the model" : "empirical Fisher, the data's labels",
            Damping = options.Damping,
            Examples = train.Count,
            Seed = options.Seed,
            Weights = session.WeightsFingerprint(),
        };
        return new DataInf(info, train, labels, [.. sums.Select((sum, k) => sum / train.Count / sizes[k].Count)]);
    }

    private protected override Inverse PrepareInverse(GradientSession session, Damping? damping, double tolerance, CancellationToken token)
    {
        CheckWeights(session);
        session.Losses.Seed = Info.Seed;
        damping = (damping ?? Info.Damping).AsOneNumber();
        if (damping.Value == 0)
        {
            throw new InfluenceException(
                "DataInf divides by the damping, so it cannot be zero. Write Damping = Damping.RelativeToMeanEigenvalue(0.1)."
            );
        }

        return new Averaged(session, _train, _labels, [.. _meanEigenvalues.Select(damping.For)], token);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) { }

    private static void CheckFinite(Tensor norms, BatchGradients batch)
    {
        if (norms.isfinite().all().item<bool>())
        {
            return;
        }

        var flags = norms.isfinite().to_type(ScalarType.Int64).cpu().data<long>().ToArray();
        var bad = batch.Ids.Where((_, i) => flags[i] == 0).ToArray();
        throw new InfluenceException(
            $"The gradients of the training examples with ids {InfluenceException.List(bad)} are NaN or too large for "
                + $"{batch.Dtype}, though the losses are finite. Look at their inputs, leave them out, or use a float64 model."
        )
        {
            ExampleIds = bad,
        };
    }

    // A block without curvature has a damping of zero and is left out.
    private sealed class Averaged(GradientSession session, Examples train, LossKind labels, double[] dampings, CancellationToken token)
        : VectorInverse(new ParameterVector(session))
    {
        public override IReadOnlyList<(string Block, double Damping)> Dampings =>
            [.. session.BlockNames.Zip(dampings).Where(b => b.Second > 0)];

        public override Tensor Solve(Tensor gradients)
        {
            var sum = zeros_like(gradients); // [Q, P]
            var ranges = Layout.BlockRanges;
            foreach (var examples in session.Batches(train, labels))
            {
                token.ThrowIfCancellationRequested();
                using var batch = session.Capture(examples, labels);
                for (var k = 0; k < dampings.Length; k++)
                {
                    if (batch.Blocks[k] is { } block && dampings[k] > 0)
                    {
                        using var one = NewDisposeScope();
                        var g = cat(block.Dense(), 1); // [B, P_k]
                        var dots = gradients.narrow(1, ranges[k].Start, ranges[k].Count).mm(g.t()); // [Q, B]
                        var shares = dots / g.Squared().sum(1).add_(Kept(dampings[k])); // [Q, B]
                        sum.narrow(1, ranges[k].Start, ranges[k].Count).add_(shares.mm(g));
                        block.Release();
                    }
                }
            }

            for (var k = 0; k < dampings.Length; k++)
            {
                var own = gradients.narrow(1, ranges[k].Start, ranges[k].Count);
                var block = sum.narrow(1, ranges[k].Start, ranges[k].Count);
                block.copy_(dampings[k] > 0 ? (own - (block / Kept(train.Count))) / Kept(dampings[k]) : zeros_like(own));
            }

            return sum;
        }
    }
}
