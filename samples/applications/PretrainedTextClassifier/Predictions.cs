using TorchSharp;
using static TorchSharp.torch;

namespace PretrainedTextClassifier;

/// <summary>What a model makes of mails.</summary>
/// <param name="Probabilities">Of spam, mail by mail.</param>
/// <param name="Labels">The mails' true classes.</param>
internal sealed record Predictions(IReadOnlyList<double> Probabilities, IReadOnlyList<long> Labels)
{
    private const int BatchSize = 32;

    public double Accuracy => Labels.Index().Average(label => Class(label.Index) == label.Item ? 1.0 : 0.0);

    public double Loss => Labels.Index().Average(label => -Math.Log(Math.Max(Probability(label.Index, label.Item), 1e-12)));

    public long Class(int mail) => Probabilities[mail] > 0.5 ? 1 : 0;

    public double Probability(int mail, long label) => label == 1 ? Probabilities[mail] : 1 - Probabilities[mail];

    public static Predictions Of(MailClassifier model, MailTensors mails, CancellationToken cancellationToken)
    {
        using var noGrad = no_grad();
        var values = new List<double>(mails.Mails.Count);
        for (long start = 0; start < mails.Mails.Count; start += BatchSize)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var count = Math.Min(BatchSize, mails.Mails.Count - start);
            var spam = model.call(mails.Ids.narrow(0, start, count), mails.Mask.narrow(0, start, count)).softmax(1).select(1, 1);
            values.AddRange(spam.to_type(ScalarType.Float64).contiguous().data<double>().ToArray());
        }

        return new Predictions(values, [.. mails.Mails.Select(mail => mail.Label)]);
    }

    /// <summary>Both classes' probabilities, <c>[N, 2]</c>; the caller disposes it.</summary>
    public Tensor ToTensor()
    {
        double[] both = [.. Probabilities.SelectMany(p => new[] { 1 - p, p })];
        return tensor(both, [Probabilities.Count, 2]);
    }
}
