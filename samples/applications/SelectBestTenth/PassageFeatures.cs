using TorchSharp;
using static TorchSharp.torch;

namespace SelectBestTenth;

/// <summary>What a decoder's head reads, as the mean over a passage's positions.</summary>
internal static class PassageFeatures
{
    private const int BatchSize = 50;

    /// <returns><c>[N, D]</c>; the caller disposes it.</returns>
    public static Tensor Of(ByteDecoder model, PassageTensors passages, CancellationToken cancellationToken)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var head = (nn.Module<Tensor, Tensor>)model.named_children().Single(child => child.name == "head").module;
        var rows = new List<Tensor>();
        Tensor? read = null;
        var hook = head.register_forward_pre_hook(
            (_, input) =>
            {
                read = input.alias(); // [B, T, D]
                return input.alias();
            }
        );
        try
        {
            for (var start = 0L; start < passages.Input.shape[0]; start += BatchSize)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var batch = NewDisposeScope();
                var length = Math.Min(BatchSize, passages.Input.shape[0] - start);
                model.call(passages.Input.narrow(0, start, length));
                var counted = passages.Predicted.narrow(0, start, length).to_type(ScalarType.Float32).unsqueeze(2); // [B, T, 1]
                rows.Add(((read! * counted).sum([1L]) / counted.sum([1L])).MoveToOuterDisposeScope()); // [B, D]
            }
        }
        finally
        {
            hook.remove();
        }

        // What all passages have in common says nothing of any.
        var all = cat([.. rows]); // [N, D]
        return (all - all.mean([0L], keepdim: true)).DetachFromDisposeScope();
    }
}
