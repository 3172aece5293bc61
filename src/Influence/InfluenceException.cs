using Influence.Formats;

namespace Influence;

/// <summary>
/// Something that the caller can mend: bad input, a model that cannot be scored, a file that does not fit. The message
/// says what was expected, what was found and what to write instead.
/// </summary>
public sealed class InfluenceException : Exception
{
    /// <summary>Makes an exception with a message.</summary>
    /// <param name="message">What was expected, what was found, what to write instead.</param>
    public InfluenceException(string message)
        : base(PlainText.Message(message)) { }

    /// <summary>Makes an exception with a message and the error that caused it.</summary>
    /// <param name="message">What was expected, what was found, what to write instead.</param>
    /// <param name="innerException">The error underneath.</param>
    public InfluenceException(string message, Exception? innerException)
        : base(PlainText.Message(message), innerException) { }

    /// <summary>The ids of the examples that caused it, where it is about examples; else empty.</summary>
    public IReadOnlyList<long> ExampleIds { get; init; } = [];

    /// <summary>Positions within the batch, known before anybody has mapped them to ids.</summary>
    internal IReadOnlyList<int> BatchPositions { get; init; } = [];

    /// <summary>Throws one exception that lists every problem found, or returns when there is none.</summary>
    internal static void ThrowIfAny(IReadOnlyList<string> problems)
    {
        if (problems.Count == 1)
        {
            throw new InfluenceException(problems[0]);
        }

        if (problems.Count > 1)
        {
            throw new InfluenceException(
                $"{problems.Count} problems:{Environment.NewLine}"
                    + string.Join(Environment.NewLine, problems.Select((p, i) => $"  {i + 1}. {p}"))
            );
        }
    }

    /// <summary>A short list of ids or names for a message: the first ten and how many more.</summary>
    internal static string List<T>(IReadOnlyCollection<T> items)
    {
        var head = string.Join(", ", items.Take(10).Select(item => PlainText.Name(item?.ToString())));
        return items.Count <= 10 ? head : $"{head}, ... ({items.Count} in all)";
    }
}
