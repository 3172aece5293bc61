using Influence.Display;
using Xunit;

namespace Influence.Tests.Display;

public class TableTests
{
    [Fact]
    public void Text()
    {
        var table = new Table("Title", ["rank", "text"], [[1, "a"], [10, "bcd\nef"]]);
        Assert.Equal(
            string.Join(Environment.NewLine, "Title", "rank  text", "----  ------", "   1  a", "  10  bcd ef"), table.ToText());
    }

    [Fact]
    public void EveryTextOfTheHtmlIsEncoded()
    {
        const string Evil = "<script>alert(\"x\" & 'y')</script>";
        var html = new Table(Evil, [Evil], [[Evil]]).ToHtml();
        Assert.DoesNotContain("<script", html, StringComparison.OrdinalIgnoreCase);
        Assert.Equal(3, html.Split("&lt;script&gt;alert(&quot;x&quot; &amp; &#39;y&#39;)&lt;/script&gt;").Length - 1);
    }

    [Fact]
    public void RowsBeyondTheFirstFiftyAreCounted()
    {
        var rows = Enumerable.Range(0, 1234).Select(i => (IReadOnlyList<object>)[$"row{i}"]).ToList();
        foreach (var shown in new[] { new Table("t", ["c"], rows).ToText(), new Table("t", ["c"], rows).ToHtml() })
        {
            Assert.Contains("row49", shown, StringComparison.Ordinal);
            Assert.DoesNotContain("row50", shown, StringComparison.Ordinal);
            Assert.Contains("... and 1,184 more", shown, StringComparison.Ordinal);
        }

        Assert.Contains("... and 950 more", new Table("t", ["c"], rows[..50], total: 1000).ToText(), StringComparison.Ordinal);
        Assert.DoesNotContain("more", new Table("t", ["c"], rows[..50]).ToText(), StringComparison.Ordinal);
    }

    [Fact]
    public void LongCellsAreCut()
    {
        var text = new Table("t", ["c"], [[new string('x', 500)]]).ToText();
        Assert.Contains(new string('x', 117) + "...", text, StringComparison.Ordinal);
        Assert.DoesNotContain(new string('x', 118), text, StringComparison.Ordinal);
    }

    [Fact]
    public void ATableWithoutRows()
    {
        Assert.Equal(string.Join(Environment.NewLine, "t", "c", "-"), new Table("t", ["c"], []).ToText());
        Assert.Contains("<tbody></tbody>", new Table("t", ["c"], []).ToHtml(), StringComparison.Ordinal);
    }

    [Fact]
    public void NothingOfATextReachesTheTerminalAsACommand()
    {
        var table = new Table("\u001b[31mred\nscores", ["a\tb"], [["x\u001b]0;title\u0007\ty"]]);
        Assert.StartsWith("?[31mred scores", table.ToText(), StringComparison.Ordinal);
        Assert.Contains("x?]0;title? y", table.ToText(), StringComparison.Ordinal);
        Assert.DoesNotContain('\u001b', table.ToHtml());
    }
}
