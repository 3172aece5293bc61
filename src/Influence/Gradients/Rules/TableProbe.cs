using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>What small backward passes tell of a table of embeddings, whose settings TorchSharp does not.</summary>
internal static class TableProbe
{
    /// <summary>Why a table whose rows get less where they occur more often has no rule.</summary>
    public const string Scaled = "its gradient is scaled by token frequency (scale_grad_by_freq), which mixes the examples of a batch";

    /// <summary>Runs forward and backward passes on a table that is trainable meanwhile, and leaves it as it was.</summary>
    /// <exception cref="InfluenceException">A forward pass writes to the table.</exception>
    public static T Run<T>(Tensor weight, string what, Func<T> probe)
    {
        var wasTrainable = weight.requires_grad;
        var before = weight.detach().clone();
        T found;
        try
        {
            using var grad = enable_grad();
            weight.requires_grad = true;
            found = probe();
        }
        finally
        {
            weight.requires_grad = wasTrainable;
        }

        using var noGrad = no_grad();
        if (weight.ne(before).any().item<bool>())
        {
            weight.copy_(before);
            throw new InfluenceException(
                $"{what} with max_norm rewrites its weights in every forward pass, so scoring would change the model. Make it without "
                    + "max_norm for scoring."
            );
        }

        return found;
    }

    /// <summary>The gradient of the sum of an output's first column, <c>[.., D]</c>, by each row's first element.</summary>
    public static double[] Received(Tensor weight, Tensor output)
    {
        var received = GuardedBackward.Gradients([output.narrow(1, 0, 1).sum()], [weight])[0] ?? zeros_like(weight);
        return received.Strided().select(1, 0).cpu().to_type(ScalarType.Float64).data<double>().ToArray();
    }
}
