using System.Xml.Linq;

namespace PackageConsumer;

/// <summary>How a user builds an app; it decides where the native files lie.</summary>
public enum AppKind
{
    /// <summary>A project with a RuntimeIdentifier: beside the app.</summary>
    ForOneRuntime,

    /// <summary>A project without one: under runtimes/.</summary>
    Portable,

    /// <summary>One C# file and no project.</summary>
    OneFile,
}

/// <summary>A user's app in a folder of its own, outside this repository's settings, restored from the package.</summary>
internal sealed class UserApp : IDisposable
{
    private const string Code = """
        using Influence;
        using TorchSharp;

        var examples = Examples.FromTensors(("x", torch.zeros(3, 2)), ("y", torch.ones(3)));
        Console.WriteLine($"examples: {string.Join(' ', examples.Ids)}");
        """;

    private readonly AppKind _kind;
    private readonly DirectoryInfo _folder;

    public UserApp(AppKind kind, string libstdcxx)
    {
        _kind = kind;
        _folder = Directory.CreateDirectory(Path.Combine(Package.Setting("Apps"), $"{kind}-{Guid.NewGuid():n}"));
        File.WriteAllText(At("Directory.Build.props"), Settings(libstdcxx));
        File.WriteAllText(At("Directory.Build.targets"), "<Project />");
        File.WriteAllText(At(".editorconfig"), "root = true\n");
        Write([]);
    }

    /// <summary>Sets a property where a user would set it.</summary>
    public void Set(string property, string value) => Write([(property, value)]);

    public CommandResult Build() => DotNet(_kind == AppKind.OneFile ? ["build", "app.cs"] : ["build"]);

    public CommandResult Run() => DotNet(_kind == AppKind.OneFile ? ["run", "--no-build", "--file", "app.cs"] : ["run", "--no-build"]);

    public CommandResult Publish() => DotNet(["publish", "--output", At("published")]);

    public CommandResult RunPublished() => DotNet([At("published/app.dll")]);

    /// <summary>Gives the native file that is used here, in the folder of the app that was built.</summary>
    public FileInfo Native() =>
        _folder
            .EnumerateFiles("libLibTorchSharp.so", SearchOption.AllDirectories)
            .Single(f => f.FullName.Contains("/bin/", StringComparison.Ordinal));

    public string At(string name) => Path.Combine(_folder.FullName, name);

    public void Dispose() => _folder.Delete(recursive: true);

    private void Write((string Name, string Value)[] properties)
    {
        var version = Package.Setting("Version");
        if (_kind == AppKind.OneFile)
        {
            var lines = new[] { ("PublishAot", "false") }.Concat(properties).Select(p => $"#:property {p.Item1}={p.Item2}");
            File.WriteAllText(
                At("app.cs"),
                $"""
                #:package Influence@{version}
                #:package TorchSharp-cpu@{Package.TorchSharpVersion}
                {string.Join('\n', lines)}
                {Code}
                """
            );
            return;
        }
        File.WriteAllText(At("Program.cs"), Code);
        var project = new XElement(
            "Project",
            new XAttribute("Sdk", "Microsoft.NET.Sdk"),
            new XElement(
                "PropertyGroup",
                new XElement("OutputType", "Exe"),
                new XElement("TargetFramework", "net10.0"),
                new XElement("ImplicitUsings", "enable"),
                _kind == AppKind.ForOneRuntime ? new XElement("RuntimeIdentifier", "linux-x64") : null,
                properties.Select(p => new XElement(p.Name, p.Value))
            ),
            new XElement("ItemGroup", Reference("Influence", version), Reference("TorchSharp-cpu", Package.TorchSharpVersion))
        );
        File.WriteAllText(At("app.csproj"), project.ToString());

        static XElement Reference(string name, string version) =>
            new("PackageReference", new XAttribute("Include", name), new XAttribute("Version", version));
    }

    /// <summary>Where packages come from, and that outputs link to them instead of copying a gigabyte.</summary>
    private static string Settings(string libstdcxx) =>
        new XElement(
            "Project",
            new XElement(
                "PropertyGroup",
                new XElement("RestoreAdditionalProjectSources", Package.Setting("PackageFolder")),
                new XElement("RestorePackagesPath", Package.Setting("PackagesPath")),
                new XElement("RestoreFallbackFolders", Package.Setting("FallbackFolders")),
                new XElement("NuGetAudit", "false"),
                new XElement("CreateHardLinksForCopyLocalIfPossible", "true"),
                new XElement("CreateHardLinksForPublishFilesIfPossible", "true"),
                new XElement("InfluenceLibstdcxx", libstdcxx)
            )
        ).ToString();

    /// <summary>The outputs of an app without a project go where the SDK keeps them, here in the app's own folder.</summary>
    private CommandResult DotNet(IEnumerable<string> arguments)
    {
        var data = Directory.CreateDirectory(At("data")).FullName;
        return CommandResult.Of("dotnet", arguments, _folder.FullName, ("XDG_DATA_HOME", data));
    }
}
