using Influence;
using TorchSharp;
using static TorchSharp.torch;

namespace PretrainedTextClassifier;

/// <summary>Mails as a model reads them, with the labels that it is given.</summary>
internal sealed class MailTensors : IDisposable
{
    public MailTensors(IReadOnlyList<Mail> mails, WordPieces tokenizer, int length, IReadOnlyList<long>? labels = null)
    {
        (Mails, GivenLabels) = (mails, labels ?? [.. mails.Select(mail => mail.Label)]);
        using var scope = NewDisposeScope();
        var encoded = mails.Select(mail => tokenizer.Encode(mail.Text, length)).ToList();
        Ids = tensor([.. encoded.SelectMany(e => e.Ids)], [mails.Count, length]).DetachFromDisposeScope();
        Mask = tensor([.. encoded.SelectMany(e => e.Mask)], [mails.Count, length]).DetachFromDisposeScope();
        Labels = tensor(GivenLabels.ToArray()).DetachFromDisposeScope();
    }

    public IReadOnlyList<Mail> Mails { get; }

    public IReadOnlyList<long> GivenLabels { get; }

    /// <summary><c>[N, T]</c>.</summary>
    public Tensor Ids { get; }

    /// <summary><c>[N, T]</c>, 1 where there is a piece.</summary>
    public Tensor Mask { get; }

    /// <summary><c>[N]</c>.</summary>
    public Tensor Labels { get; }

    public Examples ToExamples(int batchSize = 16) =>
        Examples.FromTensors(("ids", Ids), ("mask", Mask), ("label", Labels)) with
        {
            BatchSize = batchSize,
        };

    public void Dispose()
    {
        Ids.Dispose();
        Mask.Dispose();
        Labels.Dispose();
    }
}
