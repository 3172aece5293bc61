using System.Buffers.Binary;
using System.IO.Compression;

namespace Influence.Benchmarks.Shared;

/// <summary>The files of MNIST and its like: a big-endian header whose first number is 0x08 and the dimensions, then bytes.</summary>
internal static class IdxFile
{
    /// <summary>The first values of a file, which is compressed where its name ends in <c>.gz</c>.</summary>
    /// <exception cref="BenchmarkException">It is missing, too short, or something else.</exception>
    public static byte[] Read(string path, int dimensions, int count)
    {
        try
        {
            using var file = File.OpenRead(path);
            using Stream stream = path.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(file, CompressionMode.Decompress) : file;
            var header = new byte[4 * (1 + dimensions)];
            stream.ReadExactly(header);
            if (BinaryPrimitives.ReadInt32BigEndian(header) != 0x800 + dimensions)
            {
                throw new InvalidDataException("it is not an IDX file of bytes with that many dimensions");
            }

            var values = new byte[count];
            stream.ReadExactly(values);
            return values;
        }
        catch (Exception exception) when (exception is IOException or InvalidDataException)
        {
            throw new BenchmarkException($"{Path.GetFileName(path)} cannot be read: {exception.Message}");
        }
    }
}
