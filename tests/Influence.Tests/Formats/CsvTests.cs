using Influence.Tests.Oracles;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Formats;

/// <summary>Tables that spreadsheets and data frames read: numbers come back the same, texts whatever they hold.</summary>
public sealed class CsvTests
{
    [Fact]
    public void EveryScoreIsALine()
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        using var scores = new InfluenceScores(
            tensor(
                new[,]
                {
                    { 0.1, -2 },
                    { 1e-300, 1.0 / 3 },
                }
            ),
            [7, 8],
            [10, 11],
            new ScoreMetadata { Estimator = "TracIn", Unit = "u" }
        );
        var path = folder.Path("scores.csv");
        scores.SaveCsv(path);
        Assert.Equal("query_id,train_id,score\n7,10,0.1\n7,11,-2\n8,10,1E-300\n8,11,0.3333333333333333\n", File.ReadAllText(path));
        scores.SaveCsv(path, id => id == 10 ? "a, \"b\"\nc" : null);
        Assert.StartsWith(
            "query_id,train_id,score,example\n7,10,0.1,\"a, \"\"b\"\"\nc\"\n7,11,-2,\n",
            File.ReadAllText(path),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void ExampleScoresAndRankings()
    {
        using var folder = new TempFolder();
        var path = folder.Path("losses.csv");
        var scores = ExampleScores.Of([3, 5], [0.25, 4], "loss");
        scores.SaveCsv(path);
        Assert.Equal("id,score\n3,0.25\n5,4\n", File.ReadAllText(path));
        scores.Highest(2).SaveCsv(path);
        Assert.Equal("rank,id,score\n1,5,4\n2,3,0.25\n", File.ReadAllText(path));
        scores.Highest(1).Describe(_ => "mail, spam").SaveCsv(path);
        Assert.Equal("rank,id,score,example\n1,5,4,\"mail, spam\"\n", File.ReadAllText(path));
    }

    [Fact]
    public void ScoresByIds()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(
            tensor(
                new[,]
                {
                    { 0.5, -1 },
                }
            ),
            [7],
            [10, 11],
            new ScoreMetadata { Estimator = "TracIn", Unit = "u" }
        );
        Assert.Equal(-1, scores.Of(queryId: 7, trainId: 11));
        Assert.Equal(1, scores.ColumnOf(11));
        Assert.Contains("12", Assert.Throws<InfluenceException>(() => scores.ColumnOf(12)).Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => scores.Of(10, 7));
    }
}
