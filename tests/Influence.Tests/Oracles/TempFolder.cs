namespace Influence.Tests.Oracles;

/// <summary>A folder of its own for one test, gone afterwards.</summary>
internal sealed class TempFolder : IDisposable
{
    public string FullName { get; } = Directory.CreateTempSubdirectory("influence-tests-").FullName;

    public IEnumerable<string> Files => Directory.EnumerateFiles(FullName).Select(f => System.IO.Path.GetFileName(f)!).Order();

    public string Path(string name) => System.IO.Path.Combine(FullName, name);

    public void Dispose() => Directory.Delete(FullName, recursive: true);
}
