using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace PretrainedTextClassifier;

/// <summary>Holds the modules against ONNX Runtime, which runs the same file by itself.</summary>
/// <param name="Texts">How many texts were compared.</param>
/// <param name="States">The largest difference of a state at a position.</param>
/// <param name="Embeddings">The largest difference of a number of an embedding of length 1.</param>
internal sealed record EmbeddingCheck(int Texts, double States, double Embeddings)
{
    public const double Allowed = 1e-4;

    public bool Holds => States <= Allowed && Embeddings <= Allowed;

    /// <summary>Embeds texts both ways, in batches with padding.</summary>
    public static EmbeddingCheck Run(byte[] file, MiniLm model, WordPieces tokenizer, IReadOnlyList<string> texts, int length)
    {
        using var session = new InferenceSession(file);
        using var noGrad = no_grad();
        var (states, embeddings) = (0.0, 0.0);
        foreach (var chunk in texts.Chunk(8))
        {
            using var scope = NewDisposeScope();
            var encoded = chunk.Select(text => tokenizer.Encode(text, length)).ToList();
            long[] ids = [.. encoded.SelectMany(e => e.Ids)],
                mask = [.. encoded.SelectMany(e => e.Mask)];
            int[] shape = [chunk.Length, length];
            using var results = session.Run(
                [
                    NamedOnnxValue.CreateFromTensor("input_ids", new DenseTensor<long>(ids, shape)),
                    NamedOnnxValue.CreateFromTensor("attention_mask", new DenseTensor<long>(mask, shape)),
                    NamedOnnxValue.CreateFromTensor("token_type_ids", new DenseTensor<long>(new long[ids.Length], shape)),
                ],
                ["last_hidden_state"]
            );
            var theirs = tensor(results[0].AsTensor<float>().ToArray(), [chunk.Length, length, MiniLm.Width]);
            var given = tensor(mask, [chunk.Length, length]);
            var ours = model.call(tensor(ids, [chunk.Length, length]), given);
            states = Math.Max(states, Largest((ours - theirs) * given.unsqueeze(2)));
            embeddings = Math.Max(embeddings, Largest(Embedding(ours, given) - Embedding(theirs, given)));
        }

        return new EmbeddingCheck(texts.Count, states, embeddings);
    }

    /// <summary>Says how far apart they are.</summary>
    /// <exception cref="SampleException">Too far.</exception>
    public static void Demand(byte[] file, OnnxGraph graph, WordPieces tokenizer, IReadOnlyList<string> texts, int length)
    {
        using var encoder = new MiniLm();
        var unused = MiniLmWeights.Load(encoder, graph);
        var check = Run(file, encoder, tokenizer, texts, length);
        Console.WriteLine(
            $"Beside ONNX Runtime, {check.Texts} mails: states differ by at most {check.States:0.0e+0}, embeddings by "
                + $"{check.Embeddings:0.0e+0} (allowed: {Allowed:0e+0}). "
                + $"Weights of the file that are not needed: {string.Join(", ", unused)}."
        );
        if (!check.Holds)
        {
            throw new SampleException("The modules do not do what ONNX Runtime does with the same weights.");
        }
    }

    private static Tensor Embedding(Tensor states, Tensor mask) => nn.functional.normalize(MiniLm.Pool(states, mask), 2, 1);

    private static double Largest(Tensor difference) => difference.abs().max().item<float>();
}
