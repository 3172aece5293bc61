using System.Text;
using System.Text.Json;
using Parquet;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Reports.Tests;

public sealed class ReportTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("influence-reports-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public void WhatDoesNotFitIsListedBareAndCounted()
    {
        var text = new string('x', 1000);
        var html = new InfluenceReport("t") { MaximumBytes = 150_000 }
            .Suspects(Scores(500), _ => ExampleView.FromText(text) with { Label = "l" })
            .ToHtml();

        Assert.InRange(Encoding.UTF8.GetByteCount(html), 100_000, 150_000);
        using var data = Data(html);
        var contents = data.RootElement.GetProperty("views").GetProperty("c").GetString()!;
        var cut = contents.Count(kind => kind == '0');
        Assert.Equal((500, cut), (contents.Length, html.Split("{\"d\":1}").Length - 1));
        Assert.InRange(cut, 300, 480);
        Assert.Contains($"{cut} of 500 examples are listed without", html, StringComparison.Ordinal);

        // The strongest keep theirs.
        Assert.Equal('2', contents[0]);
    }

    [Fact]
    public void AnExampleIsStoredOnceWhateverShowsIt()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(
            tensor(
                new[,]
                {
                    { 0.5, -1 },
                    { 1, 2 },
                }
            ),
            [0, 1],
            [0, 1],
            new ScoreMetadata { Estimator = "e", Unit = "u" }
        );
        var shown = 0;
        Func<long, ExampleView> show = id =>
        {
            shown++;
            return ExampleView.FromText($"text {id}");
        };
        var html = new InfluenceReport("t").Suspects(Scores(2), show).Queries(scores, show).ToHtml();

        Assert.Equal(2, shown);
        using var data = Data(html);

        // Two training examples, and two queries of the same ids.
        Assert.Equal(4, data.RootElement.GetProperty("views").GetProperty("i").GetArrayLength());
        Assert.Equal(html, new InfluenceReport("t").Suspects(Scores(2), show).Queries(scores, show).ToHtml());
    }

    [Fact]
    public void MistakesAreNamed()
    {
        var report = new InfluenceReport("t");

        Assert.Contains(".html", Assert.Throws<InfluenceException>(() => report.Save(Path("r.htm"))).Message, StringComparison.Ordinal);
        Assert.Contains(
            "at least 1",
            Assert.Throws<InfluenceException>(() => report.Suspects(Scores(2), count: 0)).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "returned null",
            Assert.Throws<InfluenceException>(() => report.Suspects(Scores(2), _ => null!)).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "3 tokens and 2 scores",
            Assert.Throws<InfluenceException>(() => ExampleView.FromTokens(["a", "b", "c"], [1, 2])).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "1 cells",
            Assert
                .Throws<InfluenceException>(() =>
                    report.Table(
                        "t",
                        ["a", "b"],
                        [
                            [1],
                        ]
                    )
                )
                .Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "MaximumBytes",
            Assert.Throws<InfluenceException>(() => new InfluenceReport("t") { MaximumBytes = 5 }).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void AFileIsWrittenWhole()
    {
        new InfluenceReport("t").Text("h", "p").Save(Path("sub/r.html"));

        Assert.StartsWith("<!DOCTYPE html>", File.ReadAllText(Path("sub/r.html")), StringComparison.Ordinal);
        Assert.Single(Directory.GetFiles(Path("sub")));
        File.WriteAllText(Path("file"), string.Empty);
        Assert.Throws<InfluenceException>(() => new InfluenceReport("t").Save(Path("file/r.html")));
    }

    [Fact]
    public void JsonLinesHoldEachQuery()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(
            tensor(
                new[,]
                {
                    { 0.5, -1, 2 },
                    { 1, double.NaN, 0.1 },
                }
            ),
            [7, 8],
            [10, 11, 12],
            new ScoreMetadata { Estimator = "TracIn", Unit = "loss" }
        );
        scores.SaveJsonLines(Path("e.jsonl"), k: 2, id => id == 11 ? null : $"train \"{id}\"\n", id => $"query {id}");
        var lines = File.ReadAllLines(Path("e.jsonl"));

        Assert.Equal(2, lines.Length);
        using var first = JsonDocument.Parse(lines[0]);
        Assert.Equal(
            (7, "query 7", "TracIn"),
            (
                first.RootElement.GetProperty("query_id").GetInt64(),
                first.RootElement.GetProperty("query").GetString(),
                first.RootElement.GetProperty("estimator").GetString()
            )
        );
        var proponent = first.RootElement.GetProperty("proponents")[0];
        Assert.Equal(
            (1, 12, 2.0, "train \"12\"\n"),
            (
                proponent.GetProperty("rank").GetInt32(),
                proponent.GetProperty("train_id").GetInt64(),
                proponent.GetProperty("score").GetDouble(),
                proponent.GetProperty("example").GetString()
            )
        );
        var opponent = first.RootElement.GetProperty("opponents")[0];
        Assert.Equal(11, opponent.GetProperty("train_id").GetInt64());
        Assert.False(opponent.TryGetProperty("example", out _));
        Assert.Throws<InfluenceException>(() => scores.SaveJsonLines(Path("e.json")));
    }

    [Fact]
    public async Task ParquetHoldsEveryPair()
    {
        using var scores = new InfluenceScores(
            tensor(
                new[,]
                {
                    { 0.5f, -1, 2 },
                    { 1, 7, 0.25f },
                }
            ),
            [7, 8],
            [10, 11, long.MaxValue],
            new ScoreMetadata { Estimator = "TracIn", Unit = "loss" }
        );
        scores.SaveParquet(Path("s.parquet"));
        Scores(3).SaveParquet(Path("e.parquet"));

        await using var file = await ParquetReader.CreateAsync(Path("s.parquet"));
        Assert.Equal("TracIn", file.CustomMetadata["influence.estimator"]);
        using var group = file.OpenRowGroupReader(0);
        var fields = file.Schema.DataFields;
        Assert.Equal(["query_id", "train_id", "score"], fields.Select(f => f.Name));
        var (queries, train, values) = (new long[6], new long[6], new double[6]);
        await group.ReadAsync<long>(fields[0], queries);
        await group.ReadAsync<long>(fields[1], train);
        await group.ReadAsync<double>(fields[2], values);
        Assert.Equal([7, 7, 7, 8, 8, 8], queries);
        Assert.Equal([10, 11, long.MaxValue, 10, 11, long.MaxValue], train);
        Assert.Equal([0.5, -1, 2, 1, 7, 0.25], values);
        Assert.True(new FileInfo(Path("e.parquet")).Length > 0);
    }

    /// <summary>Two calls of two stages: the seconds are the differences of what was reported, and a new call begins at nothing.</summary>
    [Fact]
    public void CostIsThatOfTheStages()
    {
        var passed = new List<InfluenceProgress>();
        var cost = new CostLog(new Collector(passed));
        foreach (
            var (stage, done, seconds) in new[]
            {
                ("fit", 5, 1.0),
                ("fit", 10, 2.5),
                ("score", 15, 3.0),
                ("fit", 4, 0.5),
                ("score", 8, 2.0),
            }
        )
        {
            cost.Report(new InfluenceProgress(stage, done, 100, TimeSpan.FromSeconds(seconds)));
        }

        Assert.Equal([("fit", 3.0, 14L), ("score", 2.0, 9L)], cost.Stages.Select(s => (s.Name, s.Seconds, s.Done)));
        Assert.All(cost.Stages, stage => Assert.True(stage.PeakMemory > 1 << 20));
        Assert.Equal(5, passed.Count);
    }

    /// <summary>A call of one report, longer and of more examples than the one before it: it began after that one's last report.</summary>
    [Fact]
    public void AnotherCallIsNotTheSameOne()
    {
        var cost = new CostLog();
        cost.Report(new InfluenceProgress("fit", 5, 5, TimeSpan.FromSeconds(0.01)));
        Thread.Sleep(60);
        cost.Report(new InfluenceProgress("score", 50, 50, TimeSpan.FromSeconds(0.05)));

        Assert.Equal([("fit", 0.01, 5L), ("score", 0.05, 50L)], cost.Stages.Select(s => (s.Name, s.Seconds, s.Done)));
    }

    private static ExampleScores Scores(int count) =>
        ExampleScores.Of(
            [.. Enumerable.Range(0, count).Select(i => (long)i)],
            [.. Enumerable.Range(0, count).Select(i => (double)(count - i))]
        );

    private static JsonDocument Data(string html)
    {
        const string Begin = "<script type=\"application/json\" id=\"data\">";
        var start = html.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length;
        return JsonDocument.Parse(html[start..html.IndexOf("</script>", start, StringComparison.Ordinal)]);
    }

    private string Path(string name) => System.IO.Path.Combine(_folder.FullName, name);

    private sealed class Collector(List<InfluenceProgress> reports) : IProgress<InfluenceProgress>
    {
        public void Report(InfluenceProgress value) => reports.Add(value);
    }
}
