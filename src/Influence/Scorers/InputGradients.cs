using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Scorers;

/// <summary>
/// The gradient of each example's true logit with respect to its input, one number a pixel, feature or token: the model's
/// parameters stay out of it.
/// </summary>
/// <param name="settings">The delegates.</param>
/// <param name="mask">The task's <c>[B, T]</c> of positions that count; null without.</param>
internal sealed class InputGradients(VarianceOfGradients settings, Func<ExampleBatch, Tensor>? mask)
{
    /// <summary>The gradients of a batch, <c>[B, ...]</c>, and which of them count, of the same shape; in the current scope.</summary>
    public (Tensor Values, Tensor? Counts, long[] Classes) Of(ExampleBatch batch)
    {
        using var scope = NewDisposeScope();
        using var grad = enable_grad();
        var (input, logits) = settings.Embedding is { } layer ? ThroughLayer(layer, batch, scope) : ThroughTensor(batch);
        var labels = Labels(batch, logits);
        var gradient = Gradient(batch, input, logits.gather(1, labels.unsqueeze(1)).sum());
        using var noGrad = no_grad();
        var values = settings.Embedding is null ? OverChannels(gradient) : linalg.vector_norm(gradient, 2, [-1]);
        if (FiniteProducts.AnyNotFinite(values))
        {
            var flags = values.flatten(1).isfinite().all(1).to_type(ScalarType.Int64).cpu().data<long>().ToArray();
            long[] bad = [.. batch.Ids.Where((_, i) => flags[i] == 0)];
            throw new InfluenceException(
                "The gradients of the logits with respect to the input are NaN or infinite for the examples with ids "
                    + $"{InfluenceException.List(bad)}. Look at their inputs and at the checkpoint, or leave them out."
            )
            {
                ExampleIds = bad,
            };
        }

        var counts = Counts(batch, values);
        return (values.MoveToOuterDisposeScope(), counts?.MoveToOuterDisposeScope(), labels.cpu().data<long>().ToArray());
    }

    /// <summary>The delegate's input is a copy with a gradient of its own: the caller's tensor is untouched, also by a model that writes in
    /// place.</summary>
    private (Tensor Input, Tensor Logits) ThroughTensor(ExampleBatch batch)
    {
        var given = batch[settings.Input];
        if (!given.is_floating_point())
        {
            throw new InfluenceException(
                $"The tensor \"{settings.Input}\" is {given.dtype}, which has no gradient. Name the input by Input = \"...\" "
                    + $"(the batch holds {batch.Describe()}); for tokens write Embedding = model.tokens, the layer whose output takes its "
                    + "place."
            );
        }

        var input = given.detach().clone().requires_grad_(true); // [B, ...]
        return (input, Logits(batch.With(settings.Input, input.clone())));
    }

    private (Tensor Input, Tensor Logits) ThroughLayer(nn.Module<Tensor, Tensor> layer, ExampleBatch batch, DisposeScope scope)
    {
        var taps = new List<Tensor>();
        var hook = layer.register_forward_hook(
            (_, _, output) =>
            {
                var tap = output.detach().clone().requires_grad_(true);
                scope.Attach(tap);
                taps.Add(tap);
                return tap.clone();
            }
        );
        try
        {
            var logits = Logits(batch);
            return taps is [var one] && one.dim() == 3 && one.shape[0] == batch.Count
                ? (one, logits)
                : throw new InfluenceException(
                    $"The layer given as Embedding runs once in a forward pass, by call, and gives [B, T, D] with B = {batch.Count}; "
                        + "found "
                        + (taps.Count == 0 ? "no call" : string.Join(" and ", taps.Select(tap => $"[{string.Join(", ", tap.shape)}]")))
                        + "."
                );
        }
        finally
        {
            hook.remove();
        }
    }

    private Tensor Logits(ExampleBatch batch)
    {
        var logits = Call("Logits", settings.Logits, batch);
        return logits.dim() == 2 && logits.shape[0] == batch.Count && logits.is_floating_point()
            ? logits
            : throw new InfluenceException(
                $"Logits returns one row of class scores per example, before the softmax, [B, C] with B = {batch.Count}; found "
                    + $"{logits.dtype} [{string.Join(", ", logits.shape)}]."
            );
    }

    private static Tensor Call(string name, Func<ExampleBatch, Tensor> function, ExampleBatch batch)
    {
        try
        {
            using var callback = ModelInUse.CallingBack(name);
            return function(batch) ?? throw new InfluenceException($"{name} returned null; it returns a tensor with one row per example.");
        }
        catch (Exception exception) when (exception is not (InfluenceException or OperationCanceledException or OutOfMemoryException))
        {
            throw new InfluenceException(
                $"{name} failed: {exception.Message.Split('\n')[0].TrimEnd('.')}. The batch held {batch.Describe()}.",
                exception
            );
        }
    }

    private Tensor Labels(ExampleBatch batch, Tensor logits)
    {
        var labels = Call("Labels", settings.Labels, batch);
        if (labels.dim() != 1 || labels.shape[0] != batch.Count || labels.dtype != ScalarType.Int64)
        {
            throw new InfluenceException(
                $"Labels returns one class per example, [B] = [{batch.Count}] of int64; found {labels.dtype} "
                    + $"[{string.Join(", ", labels.shape)}]."
            );
        }

        var classes = labels.cpu().data<long>().ToArray();
        long[] bad = [.. batch.Ids.Where((_, i) => classes[i] < 0 || classes[i] >= logits.shape[1])];
        return bad.Length == 0
            ? labels.to(logits.device)
            : throw new InfluenceException(
                $"Labels are 0 to {logits.shape[1] - 1}, as the logits have {logits.shape[1]} classes; it is "
                    + $"otherwise for the examples with ids {InfluenceException.List(bad)}."
            )
            {
                ExampleIds = bad,
            };
    }

    private Tensor Gradient(ExampleBatch batch, Tensor input, Tensor total)
    {
        var gradient = total.requires_grad ? GuardedBackward.Gradients([total], [input], ids: batch.Ids)[0] : null;
        return gradient
            ?? throw new InfluenceException(
                "The logits do not depend on "
                    + (settings.Embedding is null ? $"the tensor \"{settings.Input}\". " : "the output of the layer given as Embedding. ")
                    + $"Does the Logits delegate read another tensor than b[\"{settings.Input}\"] (the batch holds {batch.Describe()}), "
                    + "detach it, or run under no_grad()?"
            );
    }

    private Tensor OverChannels(Tensor gradient)
    {
        var axis = settings.ChannelAxis ?? (gradient.dim() == 4 ? 1 : 0);
        return axis == 0 ? gradient
            : axis < gradient.dim() ? gradient.mean([axis])
            : throw new InfluenceException($"ChannelAxis is {axis}, but the input is [{string.Join(", ", gradient.shape)}].");
    }

    private Tensor? Counts(ExampleBatch batch, Tensor values)
    {
        if (mask?.Invoke(batch) is not { } counts)
        {
            return null;
        }

        var (given, wanted) = (counts.shape, values.shape);
        if (given.Length < 2 || given.Length > wanted.Length || !given.AsSpan().SequenceEqual(wanted.AsSpan(0, given.Length)))
        {
            throw new InfluenceException(
                $"PositionMask returns [{string.Join(", ", wanted.Take(2))}], as "
                    + $"{(settings.Embedding is null ? $"the tensor \"{settings.Input}\"" : "the embedding")} has these positions; "
                    + $"found [{string.Join(", ", given)}]. Where the input has no positions leave PositionMask out."
            );
        }

        // A position's flag holds for all of its features.
        long[] column = [.. given, .. Enumerable.Repeat(1L, wanted.Length - given.Length)];
        return counts.to_type(ScalarType.Float64).reshape(column).expand(wanted);
    }
}
