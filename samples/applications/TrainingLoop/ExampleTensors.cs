using Influence;
using TorchSharp;
using static TorchSharp.torch;

namespace TrainingLoop;

/// <summary>Examples as a model reads them; whoever makes them disposes them.</summary>
/// <param name="Input"><c>[N, ...]</c>.</param>
/// <param name="Target">Classes, <c>[N]</c> or <c>[N, T]</c>.</param>
/// <param name="Counted">Which positions count, <c>[N, T]</c>; null for all.</param>
internal sealed record ExampleTensors(Tensor Input, Tensor Target, Tensor? Counted = null) : IDisposable
{
    public int Count => (int)Input.shape[0];

    public static ExampleTensors Of(PassageTensors passages) => new(passages.Input, passages.Target, passages.Predicted);

    /// <summary>A batch of some rows, in the current scope.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="firstId">The id of row 0.</param>
    public ExampleBatch At(long[] rows, long firstId = 0)
    {
        var index = tensor(rows); // [B]
        (string, Tensor)[] tensors = [("input", Input.index_select(0, index)), ("target", Target.index_select(0, index))];
        return ExampleBatch.Of(
            [.. rows.Select(row => firstId + row)],
            Counted is null ? tensors : [.. tensors, ("counted", Counted.index_select(0, index))]
        );
    }

    public void Dispose()
    {
        Input.Dispose();
        Target.Dispose();
        Counted?.Dispose();
    }
}
