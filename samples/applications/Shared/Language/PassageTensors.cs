using Influence;
using TorchSharp;
using static TorchSharp.torch;

namespace Samples.Language;

/// <summary>Passages as a model reads them; whoever makes it disposes it.</summary>
internal sealed class PassageTensors : IDisposable
{
    /// <summary>Positions: each byte but the last predicts the next one.</summary>
    public const int Positions = Passage.MostBytes - 1;

    /// <param name="passages">The passages.</param>
    /// <param name="given">
    /// For each passage how many bytes at its beginning are given and not predicted; at least 1. Null: 1 for each.
    /// </param>
    public PassageTensors(IReadOnlyList<Passage> passages, IReadOnlyList<int>? given = null)
    {
        var input = new long[passages.Count, Positions];
        var target = new long[passages.Count, Positions];
        var predicted = new bool[passages.Count, Positions];
        foreach (var (row, passage) in passages.Index())
        {
            for (var t = 0; t + 1 < passage.Bytes.Length; t++)
            {
                input[row, t] = passage.Bytes[t];
                target[row, t] = passage.Bytes[t + 1];
                predicted[row, t] = t + 1 >= (given?[row] ?? 1);
            }
        }

        Input = tensor(input); // [N, T]
        Target = tensor(target); // [N, T]
        Predicted = tensor(predicted); // [N, T]
    }

    /// <summary>Bytes, <c>[N, T]</c>, int64; zeros after the end.</summary>
    public Tensor Input { get; }

    /// <summary>The byte after each, <c>[N, T]</c>, int64.</summary>
    public Tensor Target { get; }

    /// <summary>Which targets count, <c>[N, T]</c>.</summary>
    public Tensor Predicted { get; }

    public Examples ToExamples(int batchSize) =>
        Examples.FromTensors(("input", Input), ("target", Target), ("predicted", Predicted)) with
        {
            BatchSize = batchSize,
        };

    public void Dispose()
    {
        Input.Dispose();
        Target.Dispose();
        Predicted.Dispose();
    }
}
