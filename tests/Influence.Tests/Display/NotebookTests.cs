using System.Collections;
using System.Reflection;
using Influence.Gradients;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Display;

/// <summary>
/// What .NET Interactive does, by names only: an attribute called TypeFormatterSourceAttribute on the type, its
/// FormatterSourceType, a public constructor, CreateTypeFormatters(), and on each formatter MimeType and Format(object, TextWriter).
/// </summary>
public class NotebookTests
{
    [Fact]
    public void EveryTypeWithATableIsDisplayable()
    {
        var tables = typeof(InfluenceTask).Assembly.GetExportedTypes().Where(t => t.GetInterface("Influence.Display.IDisplay") is not null).ToList();

        Assert.Superset(
            new HashSet<Type> { typeof(ExampleScores), typeof(InfluenceScores), typeof(ParameterCoverage), typeof(RankedExamples) }, tables.ToHashSet());
        Assert.All(tables, type => Assert.Equal(typeof(string), type.GetMethod("ToHtml", Type.EmptyTypes)?.ReturnType));
        Assert.All(tables, type => Assert.Equal("text/html", Assert.Single(Formatters(type)).MimeType));
    }

    [Fact]
    public void ScoresAndRankings()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(tensor(new[,] { { 0.5, -1 } }), [7], [10, 11], new ScoreMetadata { Estimator = "TracIn", Unit = "u" });

        Assert.Contains("<td style=\"text-align:right\">7</td><td style=\"text-align:right\">10</td>", Html(scores), StringComparison.Ordinal);
        Assert.Contains("-1</td>", Html(scores.ForQuery(0)), StringComparison.Ordinal);
        var described = Html(scores.Proponents(0).Describe(id => $"<script>{id}</script>"));
        Assert.Contains("<td>&lt;script&gt;10&lt;/script&gt;</td>", described, StringComparison.Ordinal);
        Assert.DoesNotContain("<script", described, StringComparison.Ordinal);
    }

    /// <summary>Without a table of its own a task, or a set of examples, prints as a tree of all that it reaches: 129 kB.</summary>
    [Fact]
    public void NothingPrintsAsATree()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        foreach (object shown in new object[] { c.Task(), c.Train, new ScoreMetadata { Estimator = "TracIn", Unit = "u" } })
        {
            Assert.InRange(Html(shown).Length, 50, 5_000);
            Assert.StartsWith("<table>", Html(shown), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Coverage()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var coverage = c.Task().Coverage(c.Train);
        Assert.Contains("<td>hidden.weight</td><td style=\"text-align:right\">24</td><td>Linear</td>", Html(coverage), StringComparison.Ordinal);
        Assert.StartsWith("Coverage 100.0%: 51 parameters by layer rules, 0 by single examples, 0 left out", coverage.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void APictureIsShownAsItIs()
    {
        using var dynamics = new TrainingDynamics();
        dynamics.Record([1], ones(1, 2), tensor([0L]));
        var picture = new DataMap { Title = "<script>" }.Draw(dynamics.Cartography());
        Assert.Equal("text/html", Assert.Single(Formatters(typeof(SvgPicture))).MimeType);
        Assert.Equal(picture.ToString(), Html(picture));
        Assert.StartsWith("<svg ", Html(picture), StringComparison.Ordinal);
        Assert.DoesNotContain("<script", Html(picture), StringComparison.Ordinal);
    }

    [Fact]
    public void AFormatterLeavesOtherObjectsAlone()
    {
        using var writer = new StringWriter();
        Assert.False(Assert.Single(Formatters(typeof(SvgPicture))).Format("a string", writer));
        Assert.False(Assert.Single(Formatters(typeof(RankedExamples))).Format("a string", writer));
        Assert.Equal(string.Empty, writer.ToString());
    }

    [Fact]
    public void TablesAsText()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(
            tensor(new[,] { { 0.5, -1, 123456.789 }, { 1, 2, 3 } }), [7, 8], [10, 11, 12], new ScoreMetadata { Estimator = "TracIn", Unit = "u" });

        Assert.Equal(
            Lines(
                "TracIn: 2 queries x 3 training examples, positive = proponent: training on the example lowers the query's measurement",
                "query  strongest proponent       score  strongest opponent  its score",
                "-----  -------------------  ----------  ------------------  ---------",
                "    7                   12  1.2346E+05                  11         -1",
                "    8                   12           3                  10          1"),
            scores.ToString());
        Assert.Equal(
            Lines("Proponents of query 8", "rank  id  score  example", "----  --  -----  -------", "   1  12      3  cat 12", "   2  11      2  cat 11"),
            scores.Proponents(1, 2).Describe(id => $"cat {id}").ToString());
        Assert.Equal(
            Lines("Query 8, TracIn: 3 examples, highest first", "rank  id  score", "----  --  -----", "   1  12      3", "   2  11      2", "   3  10      1"),
            scores.ForQuery(1).ToString());
    }

    [Fact]
    public void ManyQueriesAndExamplesAreCapped()
    {
        using var scope = NewDisposeScope();
        var ids = Enumerable.Range(0, 200).Select(i => (long)i).ToArray();
        using var scores = new InfluenceScores(zeros(200, 200), ids, ids, new ScoreMetadata { Estimator = "TracIn", Unit = "u" });

        foreach (var text in new[] { scores.ToString(), scores.ForQuery(0).ToString(), scores.Proponents(0, 200).ToString(), Html(scores) })
        {
            Assert.Contains("... and 150 more", text, StringComparison.Ordinal);
            Assert.True(text.Split('\n').Length < 60);
        }
    }

    private static string Lines(params string[] lines) => string.Join(Environment.NewLine, lines);

    private static string Html(object instance)
    {
        using var writer = new StringWriter();
        Assert.True(Assert.Single(Formatters(instance.GetType())).Format(instance, writer));
        return writer.ToString();
    }

    private static List<(string MimeType, Func<object, TextWriter, bool> Format)> Formatters(Type type)
    {
        var attribute = Assert.Single(type.GetCustomAttributes(inherit: true), a => a.GetType().Name == "TypeFormatterSourceAttribute");
        var sourceType = (Type)attribute.GetType().GetProperty("FormatterSourceType")!.GetValue(attribute)!;
        var source = Activator.CreateInstance(sourceType)!;
        var formatters = (IEnumerable)sourceType.GetMethod("CreateTypeFormatters")!.Invoke(source, null)!;
        return [.. formatters.Cast<object>().Select(formatter =>
        {
            var format = formatter.GetType().GetMethod("Format", BindingFlags.Public | BindingFlags.Instance, [typeof(object), typeof(TextWriter)])!;
            return (
                (string)formatter.GetType().GetProperty("MimeType")!.GetValue(formatter)!,
                (Func<object, TextWriter, bool>)((instance, writer) => (bool)format.Invoke(formatter, [instance, writer])!));
        })];
    }
}
