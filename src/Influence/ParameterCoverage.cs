using Influence.Display;
using Microsoft.Extensions.Logging;

namespace Influence;

/// <summary>Which trainable parameters take part in the scores, and how their gradients are taken.</summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class ParameterCoverage : IDisplay
{
    internal const string SingleExamples = "single examples";
    internal const string LeftOut = "left out";

    internal ParameterCoverage(IReadOnlyList<Row> parameters) => Parameters = parameters;

    /// <summary>What else one must know of the gradients to read scores right, sentence by sentence; empty where there is
    /// nothing.</summary>
    internal string Notes { get; init; } = string.Empty;

    /// <summary>Every trainable parameter.</summary>
    public IReadOnlyList<Row> Parameters { get; }

    /// <summary>Elements whose gradients come from a layer rule: one pass for the whole batch.</summary>
    public long ByRule => Parameters.Where(p => p.Method is not (SingleExamples or LeftOut)).Sum(p => p.Count);

    /// <summary>Elements whose gradients come from one backward pass for each example.</summary>
    public long BySingleExamples => Sum(SingleExamples);

    /// <summary>Elements left out on request.</summary>
    public long NotIncluded => Sum(LeftOut);

    /// <summary>All trainable elements.</summary>
    public long Total => Parameters.Sum(p => p.Count);

    /// <summary>The share of trainable elements that the scores take into account.</summary>
    public double Fraction => Total == 0 ? 0 : 1 - ((double)NotIncluded / Total);

    /// <summary>The name under which a parameter with several names stands here.</summary>
    internal static string NameOf(IEnumerable<string> names) => string.Join(" = ", names);

    /// <summary>Says how the parameters are taken, and by name which of them cost a pass for each example.</summary>
    internal void Log(ILogger? logger, TimeSpan elapsed)
    {
        Influence.Log.AuditDone(logger, ByRule, BySingleExamples, NotIncluded, elapsed.TotalMilliseconds);
        foreach (var parameter in Parameters.Where(p => p.Method == SingleExamples))
        {
            Influence.Log.SingleExamples(logger, parameter.Name, parameter.Count, parameter.Note);
        }
    }

    /// <summary>A table of the parameters.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            $"Coverage {Fraction:0.0%}: {ByRule:N0} parameters by layer rules, {BySingleExamples:N0} by single examples, {NotIncluded:N0} "
                + "left out",
            ["parameter", "elements", "taken by", "note"],
            [.. Parameters.Select(p => (IReadOnlyList<object>)[p.Name, p.Count, p.Method, p.Note])]
        );

    private long Sum(string method) => Parameters.Where(p => p.Method == method).Sum(p => p.Count);

    /// <summary>How one parameter's per-example gradient is taken.</summary>
    /// <param name="Name">The parameter's name, as <c>named_parameters()</c> gives it; tied ones are joined by " = ".</param>
    /// <param name="Count">The number of its elements.</param>
    /// <param name="Method">The layer rule's name, <c>"single examples"</c> or <c>"left out"</c>.</param>
    /// <param name="Note">Why it is not taken by a rule, or that the first examples do not reach it; else empty.</param>
    public sealed record Row(string Name, long Count, string Method, string Note = "");
}
