using Influence.Curvature;
using Influence.Tests.Oracles;
using Xunit;

namespace Influence.Tests.Curvature;

/// <summary>The totals of a fit are right from its first report on, and it ends at all of them.</summary>
public class FitProgressTests
{
    [Theory]
    [InlineData(32L << 20)]
    [InlineData(1L << 15)]
    public void An_Ekfac_fit_announces_both_passes_at_once(long memory)
    {
        using var c = new Classifier(train: 40);
        var reports = new Reports();

        using (Ekfac.Fit(c.Task(), c.Train with { BatchSize = 8 }, new Ekfac.Options { MemoryBudget = memory }, reports)) { }

        Assert.NotEmpty(reports.All);
        Assert.All(reports.All, report => Assert.Equal(80, report.Total));
        Assert.Equal(80, reports.All[^1].Done);
    }
}
