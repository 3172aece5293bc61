using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace PretrainedTextClassifier;

/// <summary>
/// Probabilities out of sample for confident learning, without training the encoder five times: logistic regression on the
/// pretrained encoder's embeddings, each fifth of the mails judged by what the other four taught.
/// </summary>
internal static class FrozenEmbeddings
{
    private const int Folds = 5;
    private const int BatchSize = 32;
    private const int Steps = 300;

    /// <summary>Probabilities of both classes, <c>[N, 2]</c>; the caller disposes it.</summary>
    public static Tensor OutOfSample(OnnxGraph graph, MailTensors mails, int seed, CancellationToken cancellationToken)
    {
        using var encoder = new MiniLm();
        MiniLmWeights.Load(encoder, graph);
        using var scope = NewDisposeScope();
        var features = Embed(encoder, mails, cancellationToken); // [N, D]
        var order = Enumerable.Range(0, mails.Mails.Count).Select(i => (long)i).ToArray();
        Randomness.For(seed, "folds").Shuffle(order);
        var probabilities = zeros([order.Length, 2], ScalarType.Float64);
        for (var fold = 0; fold < Folds; fold++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var (own, others) = (fold, fold);
            var held = tensor(order.Where((_, i) => i % Folds == own).ToArray());
            var rest = tensor(order.Where((_, i) => i % Folds != others).ToArray());
            using var head = nn.Linear(MiniLm.Width, 2);
            using var optimizer = optim.AdamW(head.parameters(), 0.05, weight_decay: 0.01);
            for (var step = 0; step < Steps; step++)
            {
                using var one = NewDisposeScope();
                optimizer.zero_grad();
                F.cross_entropy(head.call(features.index_select(0, rest)), mails.Labels.index_select(0, rest)).backward();
                optimizer.step();
            }

            using var noGrad = no_grad();
            probabilities.index_copy_(0, held, head.call(features.index_select(0, held)).to_type(ScalarType.Float64).softmax(1));
        }

        return probabilities.MoveToOuterDisposeScope();
    }

    private static Tensor Embed(MiniLm encoder, MailTensors mails, CancellationToken cancellationToken)
    {
        using var noGrad = no_grad();
        var parts = new List<Tensor>();
        for (long start = 0; start < mails.Mails.Count; start += BatchSize)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var count = Math.Min(BatchSize, mails.Mails.Count - start);
            var mask = mails.Mask.narrow(0, start, count);
            parts.Add(
                F.normalize(MiniLm.Pool(encoder.call(mails.Ids.narrow(0, start, count), mask), mask), 2, 1).MoveToOuterDisposeScope()
            );
        }

        return cat([.. parts], 0);
    }
}
