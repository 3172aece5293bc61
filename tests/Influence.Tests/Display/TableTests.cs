using Influence.Display;
using Xunit;

namespace Influence.Tests.Display;

public class TableTests
{
    [Fact]
    public void Text()
    {
        var table = new Table(
            "Title",
            ["rank", "text"],
            [
                [1, "a"],
                [10, "bcd\nef"],
            ]
        );
        Assert.Equal(string.Join(Environment.NewLine, "Title", "rank  text", "----  ------", "   1  a", "  10  bcd ef"), table.ToText());
    }

    [Fact]
    public void EveryTextOfTheHtmlIsEncoded()
    {
        const string Evil = "<script>alert(\"x\" & 'y')</script>";
        var html = new Table(
            Evil,
            [Evil],
            [
                [Evil],
            ]
        ).ToHtml();
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
        var text = new Table(
            "t",
            ["c"],
            [
                [new string('x', 500)],
            ]
        ).ToText();
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
    public void Tabs_and_escape_codes_break_neither_columns_nor_terminal()
    {
        var text = new Table(
            "t\te",
            ["a\tb"],
            [
                ["x\ty\u001b[31mz"],
            ]
        ).ToText();

        Assert.DoesNotContain(text, c => char.IsControl(c) && c is not ('\n' or '\r'));
        Assert.Contains("x y [31mz", text, StringComparison.Ordinal);
    }

    [Fact]
    public void A_table_that_is_too_wide_counts_the_columns_that_it_leaves_out()
    {
        var headers = Enumerable.Range(0, 60).Select(i => $"column {i}").ToArray();
        var table = new Table(
            "wide",
            headers,
            [
                [.. headers.Select(object (_) => 1.0)],
            ]
        );

        Assert.All(table.ToText().Split('\n'), line => Assert.True(line.Length <= 160, line));
        Assert.Contains("... and 45 more columns", table.ToText(), StringComparison.Ordinal);
        Assert.Contains("column 59", table.ToHtml(), StringComparison.Ordinal);
    }
}
