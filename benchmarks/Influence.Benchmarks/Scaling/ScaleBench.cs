using System.Globalization;
using System.Text;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Reporting;
using Influence.Estimators;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Scaling;

/// <summary>
/// How cost grows with the number of training examples, of queries, with the width and with the positions: processor seconds, and the
/// exponent of their growth beside that of the counted multiply-adds.
/// </summary>
internal static class ScaleBench
{
    private static readonly string[] s_names = ["plain epoch", "all pairs", "self-influence"];

    public static int Run(Options options, Device device)
    {
        // One thread, whose processor time is told apart from other load.
        set_num_threads(1);
        var page = new MarkdownPage(options, device);
        var text = new StringBuilder();
        foreach (var series in ScaleSeries.All(options.Quick))
        {
            Console.Error.WriteLine(series.Title);
            text.AppendLine(CultureInfo.InvariantCulture, $"## {series.Title}").AppendLine().Append(Table(series, device)).AppendLine();
        }

        const string About = """
            Milliseconds of processor time on one thread, the fastest of three runs (one where it takes more than four seconds), of calls on
            a task that was seen before. An exponent is the slope between the last two sizes of a row, on logarithmic scales; "counted" is
            that of the multiply-adds of passes and products, counted in the same calls.
            """;
        page.Write("scale", "Cost against size", About, text.ToString());
        return 0;
    }

    private static TextTable Table(ScaleSeries series, Device device)
    {
        var table = new TextTable([series.Letter, .. series.Sizes.Select(Number), "exponent", "counted"]);
        var rows = new List<(double Seconds, double Count)>[] { [], [], [] };
        foreach (var size in series.Sizes)
        {
            var shape = series.At(size);
            using var model = shape.Model(device);
            var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
            using var scope = NewDisposeScope();
            var (train, queries) = (shape.Data(shape.Train, device), shape.Data(shape.Queries, device));
            var plain = ScaleShape.Batches(train);
            Action[] works =
            [
                () => Plain(model, plain),
                () => new TracIn().Score(task, train, queries).Dispose(),
                () => new TracIn().SelfInfluence(task, train),
            ];
            for (var k = 0; k < works.Length; k++)
            {
                rows[k].Add((Fastest(works[k]), k == 0 ? 3 * shape.Train * shape.Pass : CountedWork.Of(works[k], shape)));
            }
        }

        foreach (var (name, row) in s_names.Zip(rows))
        {
            table.Add([
                name,
                .. row.Select(one => (one.Seconds * 1000).ToString("F1", CultureInfo.InvariantCulture)),
                Exponent(row.ConvertAll(one => one.Seconds)),
                Exponent(row.ConvertAll(one => one.Count)),
            ]);
        }

        return table;

        string Exponent(List<double> values) =>
            (Math.Log(values[^1] / values[^2]) / Math.Log(series.Sizes[^1] / (double)series.Sizes[^2])).ToString(
                "F2",
                CultureInfo.InvariantCulture
            );
    }

    private static void Plain(nn.Module<Tensor, Tensor> model, IEnumerable<(Tensor X, Tensor Y)> batches)
    {
        foreach (var (x, y) in batches)
        {
            using var scope = NewDisposeScope();
            Losses.CrossEntropy(model.call(x), y).sum().backward();
            model.zero_grad();
        }
    }

    private static double Fastest(Action work)
    {
        var samples = new Samples();
        for (var run = 0; run < 3 && (run == 0 || samples.Min < 4); run++)
        {
            samples.Add(ThreadClock.Time(work));
        }

        return samples.Min;
    }

    private static string Number(long n) => n.ToString("N0", CultureInfo.InvariantCulture);
}
