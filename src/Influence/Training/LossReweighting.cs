using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// Weights for the losses of a batch, from those losses themselves (Sow et al., Dynamic Loss-Based Sample Reweighting for Improved
/// Large Language Model Pretraining, 2025):
/// <code>
/// h_i = delta (2 l_i - l_max - l_min) / (l_max - l_min)  in [-delta, delta]
/// f   = min(h + delta, delta)   (LinUpper),   1 - h^2/delta^2   (Quadratic),   |h|   (Extremes)
/// w   = softmax(f / r),   sum_i w_i = 1
/// </code>
/// In the loop: <c>var w = reweighting.Weights(losses, step); (w * losses).sum().backward();</c>
/// </summary>
/// <remarks>
/// The weights are constants: no gradient goes through them. LinUpper spares effort on examples of low loss, and caps the
/// rest so that outliers gain nothing; Quadratic prefers the middle; Extremes both ends. Under gradient accumulation give the losses
/// of the whole batch, as the highest and lowest are taken over what is given. The losses are read to the host: on another
/// device that waits for it.
/// </remarks>
public sealed partial record LossReweighting
{
    /// <summary>How a loss becomes a preference.</summary>
    /// <value><see cref="LossReweighting.Kind.LinUpper"/>.</value>
    public Kind Scheme
    {
        get;
        init => field = Check.Defined(value);
    }

    /// <summary>delta, the half-width of the scaled losses.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Not above 0, or infinite.</exception>
    public double Delta
    {
        get;
        init => field = Check.Positive(value);
    } = 1;

    /// <summary>r, the strength of the pull towards equal weights: high = nearly equal.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Not above 0, or infinite.</exception>
    public double Regularization
    {
        get;
        init => field = Check.Positive(value);
    } = 1;

    /// <summary>For how many steps the weights are equal, while losses say little yet.</summary>
    /// <value>1000.</value>
    /// <exception cref="InfluenceException">Negative.</exception>
    public long WarmUpSteps
    {
        get;
        init => field = Check.AtLeast(value, 0);
    } = 1000;

    /// <summary>The weights of a batch.</summary>
    /// <param name="losses">One loss per example, floating point <c>[B]</c>, reduced over nothing else; its graph is left alone.</param>
    /// <param name="step">The number of optimizer steps before this one, for the warm-up.</param>
    /// <param name="ids">The examples' ids, for messages; optional.</param>
    /// <returns>Detached weights that sum to 1, <c>[B]</c>, of the losses' dtype and device; the caller's. All 1/B where all losses are
    /// equal.</returns>
    /// <exception cref="InfluenceException">Losses of another shape, none, or such that are not finite.</exception>
    public Tensor Weights(Tensor losses, long step, IReadOnlyList<long>? ids = null)
    {
        ArgumentNullException.ThrowIfNull(losses);
        if (losses.dim() != 1 || losses.shape[0] == 0 || !losses.is_floating_point() || (ids is not null && ids.Count != losses.shape[0]))
        {
            throw new InfluenceException(
                "One loss per example is expected, floating point [B] with B above "
                    + $"0{(ids is null ? string.Empty : $" and {ids.Count} ids")}; "
                    + $"found {losses.dtype} [{string.Join(", ", losses.shape)}]. Write reduction: Reduction.None in the loss."
            );
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var values = losses.detach().to_type(ScalarType.Float64).cpu().contiguous().data<double>().ToArray();
        RefuseBroken(values, step, ids);
        return tensor(Weights(values, step), dtype: losses.dtype, device: losses.device).MoveToOuterDisposeScope(); // [B]
    }

    private double[] Weights(double[] losses, long step)
    {
        var (highest, lowest) = (losses.Max(), losses.Min());
        if (step < WarmUpSteps || highest == lowest)
        {
            return [.. losses.Select(_ => 1.0 / losses.Length)];
        }

        double[] preferences =
        [
            .. losses.Select(l => Preference(Delta * (l - lowest - (highest - l)) / (highest - lowest)) / Regularization),
        ];
        var most = preferences.Max();
        double[] weights = [.. preferences.Select(f => Math.Exp(f - most))];
        var sum = weights.Sum();
        return [.. weights.Select(w => w / sum)];
    }

    private double Preference(double h) =>
        Scheme switch
        {
            Kind.Quadratic => 1 - (h * h / (Delta * Delta)),
            Kind.Extremes => Math.Abs(h),
            _ => Math.Min(h + Delta, Delta),
        };

    private static void RefuseBroken(double[] losses, long step, IReadOnlyList<long>? ids)
    {
        var broken = Enumerable.Range(0, losses.Length).Where(i => !double.IsFinite(losses[i])).ToList();
        if (broken.Count == 0)
        {
            return;
        }

        var of = ids is null
            ? $"at positions {InfluenceException.List(broken)} of the batch"
            : $"of examples {InfluenceException.List([.. broken.Select(i => ids[i])])}";
        throw new InfluenceException($"The losses {of} are NaN or infinite in step {step}: the run has diverged, or an input is broken.")
        {
            ExampleIds = ids is null ? [] : [.. broken.Select(i => ids[i])],
        };
    }
}
