using System.Globalization;
using System.Text;
using Influence.Evaluation;

namespace UnlearningSample;

/// <summary>The tables as Markdown.</summary>
internal static class Report
{
    public static string Head(Options options) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"""
            # Unlearning

            {options.Models} models of seeds of their own that unlearn, {options.Models} that were retrained without the examples. Settings were chosen out of three on a further
            model that knows the retrained ones' losses, as no user does. Intervals are over examples, 95 percent. Membership AUC: forgotten examples against unseen ones of their kind, by the loss; 0.5 is not at all. KLoM: 95th percentile over examples of the
            divergence of margins from the retrained models', for forgotten, kept and unseen ones; the first row shows what it is between retrained models. Relearned: steps of SGD on the forgotten examples
            until their loss is what it was before. Seconds include a fit of curvature, on one loaded core.

            """
        );

    public static string Section(
        ForgetSet set,
        IReadOnlyList<UnlearningTest.Row> rows,
        IReadOnlyList<string> chosen,
        IReadOnlyList<string> refused,
        TimeSpan elapsed
    )
    {
        var text = new StringBuilder()
            .AppendLine(CultureInfo.InvariantCulture, $"## {set.Name} ({set.Forget.Count} of {set.TrainIds.Count:N0})")
            .AppendLine()
            .AppendLine(set.About)
            .AppendLine()
            .AppendLine("| method | forget loss | keep loss | test loss | membership AUC | KLoM forget, keep, test | relearned | seconds |")
            .AppendLine("|---|---|---|---|---|---|---|---|");
        foreach (var row in rows)
        {
            text.AppendLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"| {row.Method} | {Text(row.ForgetLoss)} | {Text(row.KeepLoss)} | {Text(row.TestLoss)} | {Text(row.MembershipAuc)} | "
                        + $"{row.ForgetKlom.Value:0.0}, {row.KeepKlom.Value:0.0}, {row.TestKlom.Value:0.0} | {Steps(row)} | "
                        + $"{(row.Cost is { } cost ? cost.TotalSeconds.ToString("0.0", CultureInfo.InvariantCulture) : "-")} |"
                )
            );
        }

        text.AppendLine().AppendLine($"Settings: {string.Join("; ", chosen)}. The whole took {elapsed.TotalSeconds:0} s.").AppendLine();
        foreach (var one in refused)
        {
            text.AppendLine($"Refused on another model than the one of the choice: {one}").AppendLine();
        }

        return text.ToString();
    }

    private static string Steps(UnlearningTest.Row row) =>
        row.RelearningSteps.Count == 0
            ? "-"
            : string.Join(", ", row.RelearningSteps.Select(steps => steps?.ToString(CultureInfo.InvariantCulture) ?? "never"));

    private static string Text(Estimate estimate) =>
        string.Create(CultureInfo.InvariantCulture, $"{estimate.Value:0.00} [{estimate.Lower:0.00}, {estimate.Upper:0.00}]");
}
