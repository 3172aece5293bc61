using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Quality.Training;

/// <summary>The mean of the words' embeddings, a hidden layer with GELU, and a linear layer. Number 0 is padding, and masked.</summary>
internal sealed class MailClassifier : nn.Module<Tensor, Tensor>
{
    private const double InitialWidth = 0.1;
    private readonly nn.Module<Tensor, Tensor> words;
    private readonly nn.Module<Tensor, Tensor> hidden;
    private readonly nn.Module<Tensor, Tensor> head;

    public MailClassifier(long vocabulary, long width, long hiddenWidth, long classes)
        : base(nameof(MailClassifier))
    {
        words = nn.Embedding(vocabulary, width);
        hidden = nn.Linear(width, hiddenWidth);
        head = nn.Linear(hiddenWidth, classes);
        RegisterComponents();
        nn.init.normal_(words.get_parameter("weight")!, 0, InitialWidth);
    }

    /// <param name="input">Numbers of words as int64, <c>[B, T]</c>, at least one of them not padding.</param>
    /// <returns>Logits, <c>[B, C]</c>.</returns>
    public override Tensor forward(Tensor input) => head.call(LastInputs(input));

    /// <summary>What the last layer sees, <c>[B, H]</c>.</summary>
    public Tensor LastInputs(Tensor input) => F.gelu(hidden.call(Mean(input)));

    /// <summary>The mean embedding, <c>[B, D]</c>.</summary>
    public Tensor Mean(Tensor input)
    {
        var table = words.call(input); // [B, T, D]
        var mask = input.to_type(ScalarType.Bool).to_type(table.dtype).unsqueeze(-1); // [B, T, 1]
        return (table * mask).sum(1) / mask.sum(1);
    }
}
