using System.Globalization;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Reporting;

/// <summary>A report that is Markdown alone, of the day and the machine where it is made; what the machine is asked for must be loaded by
/// then.</summary>
/// <param name="options">What was asked for.</param>
/// <param name="device">Where it runs.</param>
internal sealed class MarkdownPage(Options options, Device device)
{
    private readonly string _date = DateTime.Now.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);
    private readonly IReadOnlyDictionary<string, string> _machine = Machine.Describe(device);

    /// <summary>Prints it, and writes it to the folder of results where there is one.</summary>
    /// <param name="name">Its part of the file's name.</param>
    /// <param name="title">Its heading.</param>
    /// <param name="about">How to read it.</param>
    /// <param name="body">The tables.</param>
    public void Write(string name, string title, string about, string body)
    {
        var text = $"""
            # {title}, {_date}, {options.Device}{(options.Quick ? " (quick: fewer rounds)" : string.Empty)}

            {about}

            {string.Join('\n', _machine.Select(fact => $"- {fact.Key}: {fact.Value}"))}

            {body}
            """;
        Console.WriteLine(text);
        if (options.Output is { } folder)
        {
            Directory.CreateDirectory(folder);
            var path = Path.Combine(folder, $"{_date}-{name}-{options.Device.Split(':')[0]}{(options.Quick ? "-quick" : string.Empty)}.md");
            File.WriteAllText(path, text);
            Console.WriteLine($"Wrote {Path.GetRelativePath(Environment.CurrentDirectory, path)}");
        }
    }
}
