using System.Globalization;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Notebooks;
using Influence.Tests.Oracles;
using Influence.Training;
using Microsoft.DotNet.Interactive.Formatting;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Display;

/// <summary>
/// What .NET Interactive shows of our objects, by its own package for that. The library knows it by names only: an attribute called
/// TypeFormatterSourceAttribute on the type, and through it a source of formatters.
/// </summary>
public class NotebookTests
{
    [Fact]
    public void EveryTypeWithATableIsDisplayable()
    {
        var tables = typeof(InfluenceTask)
            .Assembly.GetExportedTypes()
            .Where(t => t.GetInterface("Influence.Display.IDisplay") is not null)
            .ToList();

        Assert.Superset(
            new HashSet<Type> { typeof(ExampleScores), typeof(InfluenceScores), typeof(ParameterCoverage), typeof(RankedExamples) },
            tables.ToHashSet()
        );
        Assert.All(tables, type => Assert.Equal(typeof(string), type.GetMethod("ToHtml", Type.EmptyTypes)?.ReturnType));
        Assert.All(
            tables,
            type => Assert.Contains(type.GetCustomAttributes(inherit: true), a => a.GetType().Name == "TypeFormatterSourceAttribute")
        );
    }

    [Fact]
    public void ScoresAndRankings()
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

        Assert.Contains($"{Right("7")}{Right("10")}", Html(scores), StringComparison.Ordinal);
        Assert.Contains("-1</td>", Html(scores.ForQuery(0)), StringComparison.Ordinal);
        var described = Html(scores.Proponents(0).Describe(id => $"<script>{id}</script>"));
        Assert.Contains(Left("&lt;script&gt;10&lt;/script&gt;"), described, StringComparison.Ordinal);
        Assert.DoesNotContain("<script", described, StringComparison.Ordinal);
    }

    /// <summary>Without a table of its own a task, or a set of examples, prints as a tree of all that it reaches: 129 kB.</summary>
    [Fact]
    public void NothingPrintsAsATree()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        foreach (
            object shown in new object[]
            {
                c.Task(),
                c.Train,
                new ScoreMetadata { Estimator = "TracIn", Unit = "u" },
            }
        )
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
        Assert.Contains($"{Left("hidden.weight")}{Right("24")}{Left("Linear")}", Html(coverage), StringComparison.Ordinal);
        Assert.StartsWith(
            "Coverage 100.0%: 51 parameters by layer rules, 0 by single examples, 0 left out",
            coverage.ToString(),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void APictureIsShownAsItIs()
    {
        using var dynamics = new TrainingDynamics();
        dynamics.Record([1], ones(1, 2), tensor([0L]));
        var picture = new DataMap { Title = "<script>" }.Draw(dynamics.Cartography());
        Assert.Equal(picture.ToString(), Html(picture));
        Assert.StartsWith("<svg ", Html(picture), StringComparison.Ordinal);
        Assert.DoesNotContain("<script", Html(picture), StringComparison.Ordinal);
    }

    [Fact]
    public void ProgressIsABar()
    {
        var progress = new InfluenceProgress("scoring <b>", 3, 4, TimeSpan.FromSeconds(3));

        Assert.Equal(
            "<progress max=\"1\" value=\"0.75\"></progress> <span>scoring &lt;b&gt;: 75% (3 of 4), 1 s left</span>",
            Html(progress)
        );
    }

    /// <summary>What has no table of its own, settings of estimators above all, has one of its properties once the package is
    /// referenced.</summary>
    [Fact]
    public void SettingsAreATable()
    {
        using var scope = NewDisposeScope();
        Assert.NotEmpty(Html("the package is loaded, as it is in a kernel"));
        Notebook.Prepare();
        var shown = typeof(InfluenceTask)
            .Assembly.GetExportedTypes()
            .Where(t =>
                t is { IsClass: true, IsAbstract: false, ContainsGenericParameters: false }
                && t.GetConstructor(Type.EmptyTypes) is not null
                && !typeof(Exception).IsAssignableFrom(t)
                && t.GetProperties().All(p => p.GetCustomAttributes(inherit: true).All(a => a.GetType().Name != "RequiredMemberAttribute"))
            )
            .ToList();

        Assert.InRange(shown.Count, 20, 1000);
        Assert.All(
            shown,
            type =>
            {
                var instance = Activator.CreateInstance(type)!;
                Assert.StartsWith("<table>", Html(instance), StringComparison.Ordinal);
                Assert.InRange(Html(instance).Length, 50, 10_000);
                (instance as IDisposable)?.Dispose();
            }
        );
        using var classifier = new Classifier();
        using var curvature = Influence.Curvature.Ekfac.Fit(classifier.Task(), classifier.Train);
        Assert.Equal(curvature.ToHtml(), Html(curvature));
        Assert.Contains(Left("Similarity"), Html(new TracIn { Similarity = TracIn.GradientSimilarity.Cosine }), StringComparison.Ordinal);
    }

    [Fact]
    public void ProgressOutsideANotebookIsAFewLines()
    {
        var (before, lines) = (Console.Out, new StringWriter(CultureInfo.InvariantCulture));
        Console.SetOut(lines);
        try
        {
            var progress = Notebook.Progress();
            foreach (var done in Enumerable.Range(1, 1000))
            {
                progress.Report(new InfluenceProgress("scoring", done, 1000, TimeSpan.FromSeconds(1)));
            }
        }
        finally
        {
            Console.SetOut(before);
        }

        var printed = lines.ToString().TrimEnd().Split(Environment.NewLine);
        Assert.Equal(2, printed.Length);
        Assert.StartsWith("scoring: 100% (1,000 of 1,000)", printed[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void ABarIsUpdatedAtOnceForANewStageAndForTheEnd()
    {
        var shown = new List<string>();
        var progress = new ProgressDisplay(first =>
        {
            shown.Add(first.Stage);
            return next => shown.Add($"{next.Stage} {next.Done}");
        });
        foreach (var stage in new[] { "fitting", "scoring" })
        {
            foreach (var done in Enumerable.Range(1, 100))
            {
                progress.Report(new InfluenceProgress(stage, done, 100, TimeSpan.Zero));
            }
        }

        // How many lie between depends on the clock: five a second.
        Assert.Equal("fitting", shown[0]);
        Assert.Contains("fitting 100", shown);
        Assert.Contains("scoring 1", shown);
        Assert.Equal("scoring 100", shown[^1]);
        Assert.InRange(shown.Count, 4, 20);
    }

    /// <summary>These tests use torch: the package's build step mended it already.</summary>
    [Fact]
    public void TorchThatIsLoadedStaysAsItIs()
    {
        using var one = ones(1);
        Assert.Contains(
            Notebook.Prepare(),
            new[] { "TorchSharp's native library is loaded already.", "TorchSharp's native library needs no correction on this system." }
        );
    }

    [Fact]
    public void TablesAsText()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(
            tensor(
                new[,]
                {
                    { 0.5, -1, 123456.789 },
                    { 1, 2, 3 },
                }
            ),
            [7, 8],
            [10, 11, 12],
            new ScoreMetadata { Estimator = "TracIn", Unit = "u" }
        );

        Assert.Equal(
            Lines(
                "TracIn: 2 queries x 3 training examples, positive = proponent: training on the example lowers the query's measurement",
                "query  strongest proponent       score  strongest opponent  its score",
                "-----  -------------------  ----------  ------------------  ---------",
                "    7                   12  1.2346E+05                  11         -1",
                "    8                   12           3                  10          1"
            ),
            scores.ToString()
        );
        Assert.Equal(
            Lines(
                "Proponents of query 8",
                "rank  id  score  example",
                "----  --  -----  -------",
                "   1  12      3  cat 12",
                "   2  11      2  cat 11"
            ),
            scores.Proponents(1, 2).Describe(id => $"cat {id}").ToString()
        );
        Assert.Equal(
            Lines(
                "Query 8, TracIn: 3 examples, highest first",
                "rank  id  score",
                "----  --  -----",
                "   1  12      3",
                "   2  11      2",
                "   3  10      1"
            ),
            scores.ForQuery(1).ToString()
        );
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

    private static string Left(string text) => $"<td style=\"text-align:left\">{text}</td>";

    private static string Right(string text) => $"<td style=\"text-align:right\">{text}</td>";

    private static string Html(object instance) => instance.ToDisplayString("text/html");
}
