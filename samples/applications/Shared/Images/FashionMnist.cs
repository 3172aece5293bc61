using System.Buffers.Binary;
using System.IO.Compression;

namespace Samples.Images;

/// <summary>Reads Fashion-MNIST's files: gzip around IDX, that is a big-endian header and then one byte a value.</summary>
internal static class FashionMnist
{
    private const int ImagesMagic = 0x803;
    private const int LabelsMagic = 0x801;

    public static LabelledImages ReadTraining(string folder, int count) => Read(folder, "train", count);

    public static LabelledImages ReadTest(string folder) => Read(folder, "t10k", null);

    private static LabelledImages Read(string folder, string part, int? count)
    {
        var images = Path.Combine(folder, $"{part}-images-idx3-ubyte.gz");
        var labels = Path.Combine(folder, $"{part}-labels-idx1-ubyte.gz");
        var missing = new[] { images, labels }.Where(path => !File.Exists(path)).ToList();
        if (missing.Count > 0)
        {
            throw new SampleException(
                $"There is no {string.Join(" and no ", missing)}. Install Debian's package dataset-fashion-mnist "
                    + "(apt-get install dataset-fashion-mnist), or name the folder that holds Fashion-MNIST's four files: "
                    + "--data FOLDER."
            );
        }

        var result = new LabelledImages(
            ReadValues(images, ImagesMagic, [LabelledImages.Side, LabelledImages.Side], count),
            ReadValues(labels, LabelsMagic, [], count)
        );
        if (result.Labels.Any(label => label >= LabelledImages.ClassCount))
        {
            throw new SampleException($"{labels} holds labels above {LabelledImages.ClassCount - 1}; it is not Fashion-MNIST's.");
        }

        return result;
    }

    private static byte[] ReadValues(string path, int magic, int[] shape, int? count)
    {
        try
        {
            using var file = File.OpenRead(path);
            using var stream = new GZipStream(file, CompressionMode.Decompress);
            if (ReadInt32(stream) != magic)
            {
                throw new InvalidDataException("another kind of file");
            }

            var available = ReadInt32(stream);
            if (shape.Any(expected => ReadInt32(stream) != expected))
            {
                throw new InvalidDataException("another size of picture");
            }

            if (count > available)
            {
                throw new SampleException($"{path} holds {available:N0} images; {count:N0} are asked for.");
            }

            var values = new byte[(count ?? available) * shape.Aggregate(1, (product, length) => product * length)];
            stream.ReadExactly(values);
            return values;
        }
        catch (Exception exception) when (exception is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            throw new SampleException($"{path} cannot be read as Fashion-MNIST: {exception.Message}");
        }
    }

    private static int ReadInt32(Stream stream)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        stream.ReadExactly(bytes);
        return BinaryPrimitives.ReadInt32BigEndian(bytes);
    }
}
