using TorchSharp;
using static TorchSharp.torch;

namespace Gpt2;

/// <summary>Lets a model write on, always by its likeliest byte.</summary>
internal static class Greedy
{
    /// <summary>The beginnings of passages and what the model makes of each, together <paramref name="length"/> bytes.</summary>
    /// <param name="model">The model.</param>
    /// <param name="passages">The passages.</param>
    /// <param name="given">How many bytes of each are given; none is shorter.</param>
    /// <param name="length">How many there are in the end.</param>
    public static List<Passage> Continue(Gpt2Model model, IReadOnlyList<Passage> passages, int given, int length)
    {
        using var _ = no_grad();
        using var outer = NewDisposeScope();
        var bytes = zeros(passages.Count, length, dtype: ScalarType.Int64); // [Q, T]
        foreach (var (row, passage) in passages.Index())
        {
            bytes[row, ..given] = tensor(passage.Bytes[..given].Select(value => (long)value).ToArray());
        }

        for (var t = given; t < length; t++)
        {
            using var scope = NewDisposeScope();
            bytes[.., t] = model.call(bytes.narrow(1, 0, t)).select(1, t - 1).argmax(-1);
        }

        return
        [
            .. passages.Select(
                (passage, row) => passage with { Bytes = [.. bytes[row].data<long>().ToArray().Select(value => (byte)value)] }
            ),
        ];
    }
}
