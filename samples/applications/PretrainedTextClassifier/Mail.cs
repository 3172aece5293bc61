namespace PretrainedTextClassifier;

/// <summary>One mail of the corpus.</summary>
/// <param name="Source">The part of the corpus that it comes from, for example hard-ham-1.</param>
/// <param name="Sender">What stands behind From.</param>
/// <param name="Subject">Its subject.</param>
/// <param name="Text">Subject and body, without headers and tags: what the model reads the beginning of.</param>
internal sealed record Mail(string Source, string Sender, string Subject, string Text)
{
    public const string HardHam = "hard-ham-1";

    /// <summary>1 for spam, 0 for ham.</summary>
    public long Label => Source.StartsWith("spam", StringComparison.Ordinal) ? 1 : 0;

    public static string Name(long label) => label == 1 ? "spam" : "ham";
}
