using System.Globalization;
using System.Net;
using Influence.Display;

namespace Influence;

/// <summary>How far a long call has come; reported once per batch.</summary>
/// <param name="Stage">What is being done, for example <c>"scoring, checkpoint 2 of 4"</c>.</param>
/// <param name="Done">Examples done, over all checkpoints and passes.</param>
/// <param name="Total">Examples to do, over all checkpoints and passes.</param>
/// <param name="Elapsed">Time since the call began.</param>
[TypeFormatterSource(typeof(HtmlFormatters))]
public readonly record struct InfluenceProgress(string Stage, long Done, long Total, TimeSpan Elapsed) : IHtml
{
    /// <summary>The share that is done, 0 to 1.</summary>
    public double Fraction => Total == 0 ? 1 : Math.Min(1.0, (double)Done / Total);

    /// <summary>The time that is left if it goes on at the same speed; null before anything was done.</summary>
    public TimeSpan? Remaining => Done == 0 ? null : Elapsed * ((1 - Fraction) / Math.Max(Fraction, 1e-9));

    /// <summary>One line, for example <c>scoring, checkpoint 2 of 4: 45% (4,500 of 10,000), 12 s left</c>.</summary>
    /// <returns>The line.</returns>
    public override string ToString()
    {
        var left = Remaining is { } remaining ? $", {remaining.TotalSeconds:0} s left" : string.Empty;
        return $"{Stage}: {Fraction:0%} ({Done:N0} of {Total:N0}){left}";
    }

    /// <summary>Gives a bar and the line beside it as an HTML fragment, for notebooks and other front ends.</summary>
    /// <returns>The fragment; the stage's text is encoded.</returns>
    public string ToHtml() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"<progress max=\"1\" value=\"{Fraction:0.###}\"></progress> <span>{WebUtility.HtmlEncode(ToString())}</span>"
        );
}
