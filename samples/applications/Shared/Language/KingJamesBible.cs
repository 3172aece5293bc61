using System.ComponentModel;
using System.Diagnostics;

namespace Samples.Language;

/// <summary>
/// The King James Bible, verse by verse. Debian's package keeps it in a compressed file of its own kind, which the program
/// <c>bible</c> of the package bible-kjv prints.
/// </summary>
internal static class KingJamesBible
{
    private const string Program = "bible";
    private const string Everything = "Gen1:1-Rev22:21";

    public static IEnumerable<string> ReadVerses()
    {
        var start = new ProcessStartInfo(Program, ["-f", Everything]) { RedirectStandardOutput = true, RedirectStandardError = true };
        try
        {
            using var process = Process.Start(start) ?? throw new SampleException($"The program {Program} did not start.");
            var errors = process.StandardError.ReadToEndAsync();
            var verses = new List<string>();
            while (process.StandardOutput.ReadLine() is { } line)
            {
                // "Ge1:1 In the beginning ...": the verse begins after the first space.
                verses.Add(line[(line.IndexOf(' ', StringComparison.Ordinal) + 1)..]);
            }

            process.WaitForExit();
            return process.ExitCode == 0
                ? verses
                : throw new SampleException($"The program {Program} ended with code {process.ExitCode}: {errors.Result.Trim()}");
        }
        catch (Win32Exception)
        {
            throw SourceFile.Missing($"program {Program}", "bible-kjv");
        }
    }
}
