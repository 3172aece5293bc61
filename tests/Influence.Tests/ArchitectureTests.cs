using System.Text.RegularExpressions;
using Xunit;
using Xunit.Abstractions;

namespace Influence.Tests;

/// <summary>The direction in which namespaces may use one another, held against the using lines of the source.</summary>
public partial class ArchitectureTests(ITestOutputHelper output)
{
    private static readonly Dictionary<string, string[]> s_mayUse = new()
    {
        [string.Empty] = ["Display", "Formats", "Numerics"],
        ["Display"] = [],
        ["Formats"] = ["Numerics"],
        ["Numerics"] = [],
        ["Gradients"] = ["Numerics"],
        ["Distributed"] = ["Display", "Formats"],
        ["Stores"] = ["Gradients", "Distributed", "Formats", "Numerics", "Curvature"],
        ["Curvature"] = ["Gradients", "Distributed", "Formats", "Display", "Numerics"],
        ["Training"] = ["Gradients", "Formats", "Display", "Numerics"],
        ["Estimators"] = ["Gradients", "Training", "Distributed", "Formats", "Display", "Numerics", "Curvature", "Stores"],
        ["Scorers"] = ["Estimators", "Gradients", "Training", "Formats", "Display", "Numerics", "Curvature", "Stores"],
        ["Recipes"] =
        [
            "Scorers",
            "Estimators",
            "Selection",
            "Gradients",
            "Training",
            "Formats",
            "Display",
            "Numerics",
            "Curvature",
            "Stores",
        ],
        ["Groups"] = ["Estimators", "Gradients", "Curvature", "Display", "Formats", "Numerics"],
        ["Mixtures"] = ["Groups", "Display", "Formats", "Numerics"],
        ["Unlearning"] = ["Groups", "Estimators", "Gradients", "Curvature", "Display", "Formats", "Numerics"],
        ["Memorisation"] = ["Evaluation", "Gradients", "Display", "Numerics"],
        ["Selection"] = ["Display", "Formats", "Numerics"],
        ["Notebooks"] = ["Display"],
        ["Evaluation"] = ["Distributed", "Display", "Formats", "Numerics"],
        ["Interchange"] = ["Formats"],
    };

    [Fact]
    public void NamespacesUseOnlyWhatTheyMay()
    {
        if (Source() is not { } source)
        {
            output.WriteLine("Not checked: there is no folder src/Influence in or beside a parent folder.");
            return;
        }

        var wrong = new List<string>();
        var files = Files(source).ToList();
        foreach (var (_, folder, name, text) in files)
        {
            if (!s_mayUse.TryGetValue(folder, out var allowed))
            {
                wrong.Add($"{folder} is not in the list of namespaces");
                continue;
            }

            wrong.AddRange(
                Used(text).Where(used => used != folder && !allowed.Contains(used)).Select(used => $"{folder}/{name} uses Influence.{used}")
            );
        }

        Assert.True(files.Count > 30, "The source was not found.");
        Assert.Empty(wrong.Distinct());
    }

    [Fact]
    public void FoldersAreNamespaces()
    {
        if (Source() is not { } source)
        {
            return;
        }

        Assert.Empty(
            Files(source)
                .Where(f =>
                    !f.Text.Contains(
                        f.Folder.Length == 0 ? "\nnamespace Influence;" : $"\nnamespace Influence.{f.Folder};",
                        StringComparison.Ordinal
                    ) && !f.Text.StartsWith("namespace Influence", StringComparison.Ordinal)
                )
                .Select(f => $"{f.Folder}/{f.Name}")
        );
    }

    /// <summary>A flat folder of more files than this is no longer found through.</summary>
    [Fact]
    public void NoFolderIsLong()
    {
        if (Source() is not { } source)
        {
            return;
        }

        Assert.Empty(
            Files(source)
                .GroupBy(f => f.Directory)
                .Where(folder => folder.Count() > 30)
                .Select(folder => $"{folder.Key} holds {folder.Count()} files, more than 30")
        );
    }

    /// <summary>The check itself sees a using line, with and without static or an alias, and a qualified name.</summary>
    [Theory]
    [InlineData("using Influence.Estimators;", "Estimators")]
    [InlineData("using static Influence.Estimators.TracIn;", "Estimators")]
    [InlineData("using T = Influence.Estimators.TracIn;", "Estimators")]
    [InlineData("    var t = new Influence.Estimators.TracIn();", "Estimators")]
    [InlineData("using TorchSharp;", null)]
    [InlineData("/// see Influence.Estimators", null)]
    public void TheCheckSees(string line, string? expected) => Assert.Equal(expected, Used(line + "\n").SingleOrDefault());

    private static IEnumerable<string> Used(string text) =>
        text.Split('\n')
            .Where(line =>
                !line.TrimStart().StartsWith("//", StringComparison.Ordinal) && !line.StartsWith("namespace ", StringComparison.Ordinal)
            )
            .SelectMany(line => QualifiedName().Matches(line))
            .Select(match => match.Groups[1].Value)
            .Where(s_mayUse.ContainsKey)
            .Distinct();

    private static IEnumerable<(string Directory, string Folder, string Name, string Text)> Files(string source) =>
        Directory
            .EnumerateFiles(source, "*.cs", SearchOption.AllDirectories)
            .Select(path => (Relative: Path.GetRelativePath(source, path), Path: path))
            .Where(file =>
                !file.Relative.StartsWith("obj", StringComparison.Ordinal) && !file.Relative.StartsWith("bin", StringComparison.Ordinal)
            )
            .Select(file => (Directory: Path.GetDirectoryName(file.Relative) ?? string.Empty, file.Path))
            .Select(file =>
                (
                    file.Directory,
                    file.Directory.Split(Path.DirectorySeparatorChar)[0],
                    Path.GetFileName(file.Path),
                    File.ReadAllText(file.Path)
                )
            );

    private static string? Source()
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            var folder = Path.Combine(at.FullName, "src", "Influence");
            if (File.Exists(Path.Combine(folder, "Influence.csproj")))
            {
                return folder;
            }
        }

        return null;
    }

    [GeneratedRegex(@"\bInfluence\.([A-Z]\w*)")]
    private static partial Regex QualifiedName();
}
