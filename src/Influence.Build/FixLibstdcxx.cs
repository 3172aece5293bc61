using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

namespace Influence.Build;

/// <summary>
/// Looks whether native files need versions of libstdc++ that this machine's does not define, and warns, or gives
/// corrected copies in their place. The files themselves stay as they are.
/// </summary>
public sealed class FixLibstdcxx : Microsoft.Build.Utilities.Task
{
    private readonly List<ITaskItem> _originals = [];
    private readonly List<ITaskItem> _corrected = [];

    /// <summary>Gets or sets the native files to look at.</summary>
    [Required]
    public ITaskItem[] Files { get; set; } = [];

    /// <summary>Gets or sets the folder for corrected copies.</summary>
    [Required]
    public string Folder { get; set; } = "";

    /// <summary>Gets or sets whether corrected copies are made; else a warning says what will fail.</summary>
    public bool Fix { get; set; }

    /// <summary>Gets or sets the libstdc++ to hold the files against; empty for the one that an app here would load.</summary>
    public string? Libstdcxx { get; set; }

    /// <summary>Gets or sets the project that warnings name.</summary>
    public string? Project { get; set; }

    /// <summary>Gets the files that have a corrected copy.</summary>
    [Output]
    public ITaskItem[] Originals => [.. _originals];

    /// <summary>Gets the corrected copies, each with its original's metadata.</summary>
    [Output]
    public ITaskItem[] Corrected => [.. _corrected];

    /// <inheritdoc/>
    public override bool Execute()
    {
        if (FindLibstdcxx() is not var (path, defined))
        {
            Log.LogMessage(MessageImportance.Low, $"No {Build.Libstdcxx.Name} was found to hold native files against.");
            return true;
        }
        foreach (var file in Files)
        {
            try
            {
                Look(file, path, defined);
            }
            catch (Exception e) when (e is ElfException or IOException or UnauthorizedAccessException)
            {
                Warn("INFLUENCE002", $"{file.ItemSpec} is left as it is: {e.Message}.");
            }
        }
        return !Log.HasLoggedErrors;
    }

    private (string Path, HashSet<string> Versions)? FindLibstdcxx()
    {
        if (!string.IsNullOrEmpty(Libstdcxx))
            return Build.Libstdcxx.TryRead(Libstdcxx!) is { } versions ? (Libstdcxx!, versions) : null;
        const string maps = "/proc/self/maps";
        return Build.Libstdcxx.Find(Environment.GetEnvironmentVariable("LD_LIBRARY_PATH"), File.Exists(maps) ? File.ReadLines(maps) : []);
    }

    private void Look(ITaskItem item, string libstdcxx, HashSet<string> defined)
    {
        var bytes = File.ReadAllBytes(item.ItemSpec);
        var file = new ElfFile(bytes);
        var missing = WeakenVersions.Missing(file, Build.Libstdcxx.Name, defined);
        if (missing.Count == 0)
            return;

        var name = Path.GetFileName(item.ItemSpec);
        var trouble =
            $"{name} needs {string.Join(", ", missing.Select(n => n.Version))} of {Build.Libstdcxx.Name}, which "
            + $"{libstdcxx} does not have: the app will fail when it first uses TorchSharp.";
        var obstacle = WeakenVersions.Obstacle(file, missing);
        if (obstacle is not null)
        {
            Warn("INFLUENCE002", $"{trouble} No corrected copy can be made, because {obstacle}: a newer libstdc++ is needed.");
        }
        else if (!Fix)
        {
            Warn(
                "INFLUENCE001",
                $"{trouble} Nothing in it uses that version, so a corrected copy works: set the property "
                    + "InfluenceFixLibstdcxx to true and the build puts one into the output folder (the package's file stays as "
                    + "it is). A newer libstdc++ needs no copy; false silences this warning."
            );
        }
        else
        {
            Replace(item, WeakenVersions.Apply(bytes, missing));
        }
    }

    private void Replace(ITaskItem item, byte[] bytes)
    {
        var path = Path.Combine(Folder, Path.GetFileName(item.ItemSpec));
        CorrectedCopy.Write(path, bytes);
        _originals.Add(item);
        _corrected.Add(new TaskItem(path, item.CloneCustomMetadata()));
    }

    private void Warn(string code, string message) => Log.LogWarning(null, code, null, null, Project, 0, 0, 0, 0, "{0}", message);
}
