using TorchSharp;
using static TorchSharp.torch;

namespace PretrainedTextClassifier;

/// <summary>The pretrained encoder, the mean over its positions, and a new linear layer that tells two classes apart.</summary>
internal sealed class MailClassifier : nn.Module<Tensor, Tensor, Tensor>
{
    private readonly MiniLm encoder;
    private readonly nn.Module<Tensor, Tensor> head;

    private MailClassifier(int loraRank)
        : base(nameof(MailClassifier))
    {
        encoder = new MiniLm(loraRank);
        head = nn.Linear(MiniLm.Width, 2);
        RegisterComponents();
    }

    public long ParameterCount => parameters().Sum(p => p.numel());

    public long TrainedCount => parameters().Where(p => p.requires_grad).Sum(p => p.numel());

    /// <param name="graph">The pretrained weights.</param>
    /// <param name="seed">Of the head's weights and of the corrections'.</param>
    /// <param name="loraRank">0: every parameter is trained. Else only corrections of this rank, and the head.</param>
    public static MailClassifier Create(OnnxGraph graph, int seed, int loraRank)
    {
        manual_seed(Randomness.SeedFor(seed, "new weights"));
        var model = new MailClassifier(loraRank);
        MiniLmWeights.Load(model.encoder, graph);
        foreach (var (name, parameter) in model.named_parameters().Where(_ => loraRank > 0))
        {
            parameter.requires_grad = LoraLinear.IsCorrection(name) || name.StartsWith($"{nameof(head)}.", StringComparison.Ordinal);
        }

        return model;
    }

    /// <returns>Logits of ham and spam, <c>[B, 2]</c>.</returns>
    public override Tensor forward(Tensor ids, Tensor mask) => head.call(MiniLm.Pool(encoder.call(ids, mask), mask));
}
