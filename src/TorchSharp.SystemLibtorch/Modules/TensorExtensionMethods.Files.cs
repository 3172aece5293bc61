using TorchSharp.Modules;
using static TorchSharp.torch;

namespace TorchSharp;

/// <summary>Tensors as parameters, and in TorchSharp's own file format.</summary>
public static partial class TensorExtensionMethods
{
    public static void Save(this Tensor tensor, BinaryWriter writer) => TensorFile.Write(writer, tensor);

    /// <summary>Writes the tensor and closes the stream, as TorchSharp does.</summary>
    public static void Save(this Tensor tensor, Stream stream)
    {
        using var writer = new BinaryWriter(stream);
        tensor.Save(writer);
    }

    public static void Save(this Tensor tensor, string location)
    {
        using var stream = File.Create(location);
        tensor.Save(stream);
    }

    /// <summary>Fills the tensor with the stored values.</summary>
    /// <exception cref="ArgumentException">The stored type or shape is another one.</exception>
    public static void Load(this Tensor tensor, BinaryReader reader, bool skip = false)
    {
        var (type, shape) = TensorFile.ReadHeader(reader);
        if (type != tensor.dtype)
        {
            throw new ArgumentException($"The stored tensor is of type {type}, but {tensor.dtype} is expected.");
        }

        Fill(tensor, reader, type, shape, skip);
    }

    /// <summary>Reads a stored tensor; with <paramref name="skip"/>, zeros of its shape.</summary>
    public static Tensor Load(BinaryReader reader, bool skip = false)
    {
        Tensor? tensor = null;
        Load(ref tensor, reader, skip);
        return tensor!;
    }

    /// <summary>Fills the tensor, or makes it if there is none.</summary>
    public static void Load(ref Tensor? tensor, BinaryReader reader, bool skip = false)
    {
        var (type, shape) = TensorFile.ReadHeader(reader);
        tensor ??= zeros(shape, type);
        Fill(tensor, reader, type, shape, skip);
    }

    private static void Fill(Tensor tensor, BinaryReader reader, ScalarType type, long[] shape, bool skip)
    {
        if (skip)
        {
            TensorFile.SkipElements(reader, type, shape);
            return;
        }

        if (!shape.AsSpan().SequenceEqual(tensor.shape))
        {
            throw new ArgumentException(
                $"The stored tensor is of shape [{string.Join(", ", shape)}], "
                + $"but [{string.Join(", ", tensor.shape)}] is expected.");
        }

        TensorFile.ReadElements(reader, tensor);
    }
}
