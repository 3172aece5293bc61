using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>The training loss before its sum over tokens, as a delegate gives it.</summary>
internal static class TokenLosses
{
    /// <summary>Calls the delegate, and checks that there is one loss per token, <c>[B, T]</c>.</summary>
    public static Tensor Evaluate(Func<ExampleBatch, Tensor> tokenLosses, ExampleBatch batch)
    {
        Tensor losses;
        using (ModelInUse.CallingBack("the delegate of token losses"))
        {
            losses = tokenLosses(batch);
        }

        return losses.dim() == 2 && losses.shape[0] == batch.Count && losses.is_floating_point()
            ? losses
            : throw new InfluenceException(
                $"The delegate of token losses returns one loss per token, [B, T] with B = {batch.Count}; found {losses.dtype} "
                    + $"[{string.Join(", ", losses.shape)}]. With Losses.TokenCrossEntropy(logits, targets, mask) it is one line."
            );
    }

    /// <summary>Refuses token losses that do not sum to the training loss, to the rounding of their numbers.</summary>
    /// <param name="losses"><c>[B, T]</c>.</param>
    /// <param name="whole">The training loss, <c>[B]</c>.</param>
    /// <param name="dtype">Of the model.</param>
    public static void CheckSums(Tensor losses, Tensor whole, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var (sum, all) = (losses.detach().sum(1), whole.detach());
        var room = Kept(dtype == ScalarType.Float64 ? 1e-9 : 1e-3) * (all.abs() + Kept(1));
        if (!(sum - all).abs().le(room).all().item<bool>())
        {
            throw new InfluenceException(
                "Token losses sum to the training loss; the first example's sum is "
                    + $"{sum[0].to_type(ScalarType.Float64).item<double>():G6}, its training loss "
                    + $"{all[0].to_type(ScalarType.Float64).item<double>():G6}. "
                    + "Is one a mean and the other a sum, or is padding counted in one of them?"
            );
        }
    }
}
