using TorchSharp;
using static TorchSharp.torch;

namespace LanguageModelAttribution;

/// <summary>Lets a model write on.</summary>
internal static class Generator
{
    /// <summary>Below 1 the likelier bytes are drawn more often than the model says.</summary>
    private const double Temperature = 0.6;

    /// <summary>The prompt and what the model makes of it, 128 bytes together.</summary>
    public static Passage Continue(ByteDecoder model, Passage prompt, Random random)
    {
        using var _ = no_grad();
        var bytes = prompt.Bytes.ToList();
        while (bytes.Count < Passage.MostBytes)
        {
            using var scope = NewDisposeScope();
            var input = tensor(bytes.Select(value => (long)value).ToArray()).unsqueeze(0); // [1, T]
            var logits = model.call(input)[0, bytes.Count - 1]; // [256]
            bytes.Add((byte)Draw((logits / Temperature).softmax(0).data<float>().ToArray(), random));
        }

        // Whatever the last character's missing bytes may be, the passage ends before it.
        var passage = prompt with
        {
            Bytes = [.. bytes],
        };
        return passage with { Bytes = passage.Bytes[..passage.CompleteLength()] };
    }

    private static int Draw(float[] probabilities, Random random)
    {
        var left = random.NextDouble() * probabilities.Sum(p => (double)p);
        var index = 0;
        while (index < probabilities.Length - 1 && (left -= probabilities[index]) >= 0)
        {
            index++;
        }

        return index;
    }
}
