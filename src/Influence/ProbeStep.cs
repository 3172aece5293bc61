using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>One optimizer step that is taken on trial, by an optimizer made for it alone. Weights are put back by
/// <see cref="KeptState"/>.</summary>
internal static class ProbeStep
{
    /// <summary>Makes two optimizers before anything costly is done: they must not be one that is used elsewhere, as the running one
    /// is.</summary>
    /// <param name="model">The model.</param>
    /// <param name="make">The user's delegate.</param>
    /// <exception cref="InfluenceException">The delegate fails, returns null, or the same optimizer twice.</exception>
    public static void Check(nn.Module model, Func<nn.Module, optim.Optimizer> make)
    {
        using var scope = NewDisposeScope();
        optim.Optimizer? first = null,
            second = null;
        try
        {
            first = Make(model, make);
            second = Make(model, make);
        }
        finally
        {
            // One that comes twice is the caller's.
            if (!ReferenceEquals(first, second))
            {
                first?.Dispose();
                second?.Dispose();
            }
        }

        if (ReferenceEquals(first, second))
        {
            throw new InfluenceException(
                "optimizer returned the same object twice: a step would change the state of the training run. It makes a new "
                    + "optimizer for each step, and loads the running one's state into it: model => { var probe = "
                    + "torch.optim.Adam(parameters); probe.load_state_dict(adam.state_dict()); return probe; }"
            );
        }
    }

    /// <summary>
    /// One step on a loss. A parameter that the loss does not reach has no gradient, so that neither an older one nor weight decay moves
    /// it.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <param name="kept">Its state; the gradients are cleared.</param>
    /// <param name="make">The user's delegate; what it makes is disposed.</param>
    /// <param name="loss">The loss, one number; called with gradients.</param>
    /// <exception cref="InfluenceException">The delegate fails, or the loss depends on no parameter.</exception>
    public static void Take(nn.Module model, KeptState kept, Func<nn.Module, optim.Optimizer> make, Func<Tensor> loss)
    {
        using var scope = NewDisposeScope();
        using var grad = enable_grad();
        kept.ClearGradients();
        using var optimizer = Make(model, make);
        var value = loss();
        if (!value.requires_grad)
        {
            throw new InfluenceException(
                "The loss does not depend on any trainable parameter. Does the loss delegate detach the model's "
                    + "output, or run under no_grad()?"
            );
        }

        GuardedBackward.Accumulate(value);
        optimizer.step();
    }

    private static optim.Optimizer Make(nn.Module model, Func<nn.Module, optim.Optimizer> make)
    {
        try
        {
            return make(model)
                ?? throw new InfluenceException("optimizer returned null; it returns a new optimizer over model.parameters().");
        }
        catch (Exception exception) when (exception is not (InfluenceException or OperationCanceledException or OutOfMemoryException))
        {
            throw new InfluenceException(
                $"optimizer failed: {exception.Message.Split('\n')[0].TrimEnd('.')}. It makes a new optimizer over the same "
                    + "parameters as the running one has, before it loads that one's state: model.parameters(), or "
                    + "model.parameters().Where(p => p.requires_grad). TorchSharp's SGD with momentum can load a state only once it has "
                    + "stepped.",
                exception
            );
        }
    }
}
