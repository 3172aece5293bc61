using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Evaluation;

/// <summary>What a loss delegate gives for examples, example by example, in float64 and without gradients.</summary>
internal static class MeasuredLosses
{
    /// <exception cref="InfluenceException">The delegate does not give one value for each example.</exception>
    public static List<(long Id, double Loss)> Of(Func<ExampleBatch, Tensor> loss, Examples examples)
    {
        using var noGrad = no_grad();
        var found = new List<(long, double)>(examples.Count);
        foreach (var batch in examples.Batches())
        {
            using var scope = NewDisposeScope();
            found.AddRange(
                batch.Ids.Zip(Checked(loss(batch), batch).to_type(ScalarType.Float64).cpu().contiguous().data<double>().ToArray())
            );
        }

        return found;
    }

    /// <summary>The losses, <c>[B]</c>.</summary>
    /// <exception cref="InfluenceException">They are of another shape.</exception>
    public static Tensor Checked(Tensor losses, ExampleBatch batch) =>
        losses.dim() == 1 && losses.shape[0] == batch.Count
            ? losses
            : throw new InfluenceException(
                $"The loss gives [{string.Join(", ", losses.shape)}] for a batch of {batch.Count} examples; expected one value per "
                    + $"example, [{batch.Count}]: write reduction: Reduction.None."
            );
}
