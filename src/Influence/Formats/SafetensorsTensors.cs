using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>Tensors by name with a map of strings, of one safetensors file or of several with an index.</summary>
internal abstract class SafetensorsTensors : IDisposable
{
    /// <summary>The map of strings, without the checksums.</summary>
    public abstract Dictionary<string, string> Metadata { get; }

    /// <summary>The tensors, by name.</summary>
    public abstract IReadOnlyDictionary<string, SafetensorsEntry> Entries { get; }

    /// <summary>Empty where every file has a checksum, which is checked as it is read; else says so.</summary>
    public abstract string Integrity { get; }

    /// <summary>What was found beside the tensors, one line each.</summary>
    public virtual IReadOnlyList<string> Notes => [];

    /// <summary>Opens one file, or by an index those that it names.</summary>
    /// <param name="path">A safetensors file, or an index: its name ends in .json.</param>
    /// <exception cref="InfluenceException">A file is missing, truncated, damaged or something else.</exception>
    public static SafetensorsTensors OpenAny(string path) =>
        path.EndsWith(".json", StringComparison.OrdinalIgnoreCase) ? SafetensorsShards.Open(path) : SafetensorsFile.Open(path);

    /// <summary>Reads one tensor, on the CPU; the caller owns it.</summary>
    /// <exception cref="InfluenceException">There is none of that name or it is of a type that no tensor here can have; or its bytes were
    /// changed since.</exception>
    public abstract Tensor Read(string name);

    public abstract void Dispose();
}
