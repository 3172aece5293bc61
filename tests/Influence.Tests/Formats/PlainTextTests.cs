using Influence.Formats;
using Xunit;

namespace Influence.Tests.Formats;

public class PlainTextTests
{
    [Theory]
    [InlineData("layers.0.weight", "layers.0.weight")]
    [InlineData("Grüße 数据 \U0001F600", "Grüße 数据 \U0001F600")]
    [InlineData("\u001b[31mred\u0007\u009b1m\u007f", "\\u001b[31mred\\u0007\\u009b1m\\u007f")]
    [InlineData("a\nb\r\nc\td", "a\\u000ab\\u000d\\u000ac\\u0009d")]
    [InlineData("\u202eturned\u2066", "\\u202eturned\\u2066")]
    public void NamesShowWhatATerminalWouldObey(string name, string shown) => Assert.Equal(shown, PlainText.Name(name));

    [Fact]
    public void HalvesOfCharactersAreWrittenOut() => Assert.Equal("half \\ud83d, \\ude00", PlainText.Name("half \ud83d, \ude00"));

    [Fact]
    public void MessagesKeepTheirLines()
    {
        Assert.Equal("2 problems:\n  1. one\r\n\\u001b[2J\\u000d", new InfluenceException("2 problems:\n  1. one\r\n\u001b[2J\r").Message);
        Assert.InRange(new InfluenceException(new string('x', 5_000_000)).Message.Length, 100, PlainText.LongestMessage + 100);
        Assert.InRange(InfluenceException.List([new string('x', 5_000_000), "\u001b"]).Length, 100, 400);
        Assert.Contains("(5,000,000 characters)", InfluenceException.List([new string('x', 5_000_000)]), StringComparison.Ordinal);
    }
}
