using Influence;
using TorchSharp;
using static TorchSharp.torch;

namespace DataMixture;

/// <summary>What a model makes of each target's windows.</summary>
internal static class Judge
{
    private const int BatchSize = 64;

    /// <returns>Bits per byte, target after target.</returns>
    public static double[] BitsPerByte(ByteDecoder model, MixtureCorpus corpus) => BitsPerByte(model, corpus, corpus.Judged);

    /// <param name="model">The model.</param>
    /// <param name="corpus">What there is.</param>
    /// <param name="windows">Windows of the targets.</param>
    /// <returns>Bits per byte, target after target.</returns>
    public static double[] BitsPerByte(ByteDecoder model, MixtureCorpus corpus, IReadOnlyList<Passage> windows) =>
        [.. corpus.Targets.Select((_, target) => BitsPerByte(model, [.. windows.Where(p => p.Domain == target)]))];

    private static double BitsPerByte(ByteDecoder model, Passage[] windows)
    {
        using var _ = no_grad();
        var nats = 0.0;
        foreach (var part in windows.Chunk(BatchSize))
        {
            using var scope = NewDisposeScope();
            using var batch = new PassageTensors(part);
            nats += Losses.CrossEntropy(model.call(batch.Input), batch.Target, batch.Predicted).sum().item<float>();
        }

        return nats / windows.Sum(w => w.Bytes.Length - 1) / Math.Log(2);
    }
}
