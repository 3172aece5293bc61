using System.IO.Compression;
using System.Reflection;
using System.Xml.Linq;

namespace PackageConsumer;

/// <summary>The packed files, as the build left them.</summary>
internal static class Package
{
    public static string TorchSharpVersion => Setting("TorchSharpVersion");

    public static ZipArchive Open() => ZipFile.OpenRead(Setting("PackageFile"));

    public static ZipArchive OpenSymbols() => ZipFile.OpenRead(Setting("SymbolsFile"));

    public static byte[] Read(this ZipArchive archive, string path)
    {
        var entry = archive.GetEntry(path) ?? throw new FileNotFoundException($"The package has no {path}.");
        using var source = entry.Open();
        using var bytes = new MemoryStream();
        source.CopyTo(bytes);
        return bytes.ToArray();
    }

    /// <summary>The nuspec's metadata element.</summary>
    public static XElement Metadata()
    {
        using var archive = Open();
        using var nuspec = new MemoryStream(archive.Read("Influence.nuspec"));
        return XDocument.Load(nuspec).Root!.Elements().Single(e => e.Name.LocalName == "metadata");
    }

    public static string? Field(this XElement metadata, string name) =>
        metadata.Elements().SingleOrDefault(e => e.Name.LocalName == name)?.Value;

    public static string Setting(string key) =>
        typeof(Package).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == key).Value!;
}
