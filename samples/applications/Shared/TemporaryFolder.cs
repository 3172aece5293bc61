namespace Samples;

/// <summary>A new folder that goes away, with what is in it, at the end.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string FullPath { get; } = Directory.CreateTempSubdirectory("influence-sample-").FullName;

    public void Dispose() => Directory.Delete(FullPath, recursive: true);
}
