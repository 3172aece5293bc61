namespace Samples.Language;

/// <summary>Texts of one kind.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Source">Where it comes from: the Debian package, or the file.</param>
/// <param name="Read">Its texts, one a string, as they stand in the source.</param>
internal sealed record Domain(string Name, string Source, Func<IEnumerable<string>> Read)
{
    private const string Fortunes = "/usr/share/games/fortunes";

    /// <summary>Files of one of Debian's packages of fortunes.</summary>
    public static Domain FromFortunes(string name, string package, params string[] files) =>
        new(name, package, () => files.SelectMany(file => FortuneFile.Read(Path.Combine(Fortunes, file), package)));

    /// <summary>Each <c>.txt</c> file of a folder as a domain, in the order of their names.</summary>
    public static IReadOnlyList<Domain> OfFolder(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new SampleException($"There is no folder {folder}. Name one that holds at least two .txt files: --corpus FOLDER.");
        }

        var files = Directory.GetFiles(folder, "*.txt").Order(StringComparer.Ordinal).ToArray();
        return files.Length >= 2
            ?
            [
                .. files.Select(file => new Domain(
                    Path.GetFileNameWithoutExtension(file),
                    Path.GetFileName(file),
                    () => FortuneFile.Read(file)
                )),
            ]
            : throw new SampleException($"{folder} holds {files.Length} .txt files; at least two domains are needed, each a .txt file.");
    }
}
