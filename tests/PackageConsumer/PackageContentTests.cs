using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text;
using System.Xml.Linq;
using Xunit;

namespace PackageConsumer;

/// <summary>What the package says about itself, and what is in it.</summary>
public class PackageContentTests
{
    private const string Library = "lib/net10.0/Influence.dll";
    private const string BuildTask = "tools/netstandard2.0/Influence.Build.dll";

    [Fact]
    public void It_depends_on_managed_TorchSharp_MathNet_and_logging_abstractions_and_on_nothing_else()
    {
        var dependencies = Package
            .Metadata()
            .Descendants()
            .Where(e => e.Name.LocalName == "dependency")
            .ToDictionary(e => e.Attribute("id")!.Value, e => e.Attribute("version")!.Value);

        Assert.Equal(["MathNet.Numerics", "Microsoft.Extensions.Logging.Abstractions", "TorchSharp"], dependencies.Keys.Order());
        Assert.Equal(Package.TorchSharpVersion, dependencies["TorchSharp"]);
    }

    [Fact]
    public void It_names_its_licence_and_its_readme()
    {
        var metadata = Package.Metadata();

        Assert.Equal("Influence", metadata.Field("id"));
        Assert.Equal("MIT", metadata.Field("license"));
        Assert.Equal("README.md", metadata.Field("readme"));
        Assert.False(string.IsNullOrWhiteSpace(metadata.Field("description")));
        Assert.False(string.IsNullOrWhiteSpace(metadata.Field("authors")));
    }

    [Fact]
    public void It_holds_one_library_with_its_documentation_and_the_readme()
    {
        using var archive = Package.Open();

        Assert.Equal(
            ["lib/net10.0/Influence.dll", "lib/net10.0/Influence.xml"],
            archive.Entries.Select(e => e.FullName).Where(n => n.StartsWith("lib/", StringComparison.Ordinal)).Order()
        );
        Assert.NotEmpty(archive.Read("README.md"));
    }

    [Fact]
    public void It_adds_one_targets_file_and_its_task_to_the_build_of_an_app()
    {
        using var archive = Package.Open();
        string[] folders = ["build", "tools", "tasks", "content", "runtimes", "analyzers"];

        Assert.Equal(
            ["buildTransitive/Influence.targets", BuildTask],
            archive
                .Entries.Select(e => e.FullName)
                .Where(n => folders.Any(f => n.StartsWith(f, StringComparison.Ordinal)))
                .Order(StringComparer.Ordinal)
        );
    }

    [Fact]
    public void It_prepares_the_notebook_that_references_it()
    {
        using var archive = Package.Open();

        Assert.Contains(
            "Influence.Notebooks.Notebook.Prepare()",
            Encoding.UTF8.GetString(archive.Read("interactive-extensions/dotnet/extension.dib")),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void Its_documentation_describes_the_public_types()
    {
        using var archive = Package.Open();
        using var xml = new MemoryStream(archive.Read("lib/net10.0/Influence.xml"));
        var documented = XDocument.Load(xml).Descendants("member").Select(m => m.Attribute("name")!.Value).ToHashSet();

        var undocumented = typeof(Influence.Examples)
            .Assembly.GetExportedTypes()
            .Select(t => "T:" + t.FullName!.Replace('+', '.'))
            .Where(name => !documented.Contains(name));

        Assert.Empty(undocumented);
    }

    [Fact]
    public void Its_symbols_belong_to_its_library()
    {
        using var archive = Package.Open();
        using var symbols = Package.OpenSymbols();
        using var library = new PEReader(new MemoryStream(archive.Read(Library)));
        using var pdb = MetadataReaderProvider.FromPortablePdbStream(new MemoryStream(symbols.Read("lib/net10.0/Influence.pdb")));

        var codeView = library.ReadDebugDirectory().Single(e => e.Type == DebugDirectoryEntryType.CodeView);
        var expected = library.ReadCodeViewDebugDirectoryData(codeView).Guid;

        Assert.Equal(expected, new BlobContentId(pdb.GetMetadataReader().DebugMetadataHeader!.Id).Guid);
    }

    [Fact]
    public void Its_assemblies_hold_no_path_of_the_building_machine()
    {
        using var archive = Package.Open();
        using var symbols = Package.OpenSymbols();
        var home = AppContext.BaseDirectory.Split("/artifacts/")[0];

        Assert.DoesNotContain(home, Encoding.UTF8.GetString(archive.Read(Library)), StringComparison.Ordinal);
        Assert.DoesNotContain(home, Encoding.UTF8.GetString(archive.Read(BuildTask)), StringComparison.Ordinal);
        Assert.DoesNotContain(home, Encoding.UTF8.GetString(symbols.Read("lib/net10.0/Influence.pdb")), StringComparison.Ordinal);
    }
}
