using System.Globalization;
using Influence.Quality.Parts;
using Influence.Quality.Reporting;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality;

/// <summary>Runs the parts one after the other; each writes its files as soon as it is done.</summary>
internal static class QualityRun
{
    public static void Run(Options options)
    {
        foreach (var part in options.Parts)
        {
            using var scope = NewDisposeScope();
            var context = new PartContext(part.Key, options.Quick, options.Cache);
            context.Note(part.Title);
            var findings = part.Run(context);
            var report = new QualityReport(
                DateTime.Now.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
                part.Key,
                part.Title,
                options.Quick,
                Machine.Describe(CPU),
                findings
            )
            {
                Seconds = context.Elapsed.TotalSeconds,
            };
            var text = QualityMarkdown.Of(report);
            Console.WriteLine();
            Console.WriteLine(text);
            if (options.Output is { } folder)
            {
                foreach (var file in QualityFiles.Write(report, folder, text))
                {
                    Console.WriteLine($"Wrote {Path.GetRelativePath(Environment.CurrentDirectory, file)}");
                }
            }
        }
    }
}
