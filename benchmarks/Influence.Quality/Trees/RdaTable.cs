using System.Buffers.Binary;
using System.Text;

namespace Influence.Quality.Trees;

/// <summary>
/// A data frame as R saves it, already decompressed: format RDX2, whose items are big-endian and say their type. Numbers and factors are
/// read; a factor becomes its level's number from 0.
/// </summary>
internal sealed class RdaTable
{
    private readonly byte[] _bytes;
    private readonly List<string> _symbols = [];
    private int _at;

    private RdaTable(byte[] bytes) => _bytes = bytes;

    /// <summary>The columns by name, in their order.</summary>
    public IReadOnlyList<(string Name, double[] Values)> Columns { get; private set; } = [];

    public static RdaTable Load(string path)
    {
        var table = new RdaTable(File.ReadAllBytes(path));
        if (!table._bytes.AsSpan().StartsWith("RDX2\nX\n"u8))
        {
            throw new BenchmarkException($"{path} is not R's format RDX2 in its binary form.");
        }

        table._at = 7 + 12;
        if (table.Item() is not Pairs { First: Frame frame } || frame.Names.Length != frame.Values.Length)
        {
            throw new BenchmarkException($"{path} does not hold a data frame.");
        }

        table.Columns =
        [
            .. frame.Names.Zip(
                frame.Values.Select(v =>
                    v as double[] ?? throw new BenchmarkException($"{path} has columns that are neither numbers nor factors.")
                )
            ),
        ];
        return table;
    }

    private object? Item()
    {
        var flags = Whole();
        var (hasAttributes, hasTag) = ((flags & 0x200) != 0, (flags & 0x400) != 0);
        switch (flags & 0xFF)
        {
            case 254: // nothing
                return null;
            case 255: // a symbol that came before
                return _symbols[(flags >> 8) - 1];
            case 1:
                var symbol = (string)Item()!;
                _symbols.Add(symbol);
                return symbol;
            case 2: // a pair list
                var pairs = new Pairs();
                for (var more = true; more; )
                {
                    if ((flags & 0x200) != 0)
                    {
                        Item();
                    }

                    var tag = (flags & 0x400) != 0 ? Item() as string : null;
                    pairs.Items.Add((tag ?? string.Empty, Item()));
                    flags = Whole();
                    more = (flags & 0xFF) == 2;
                }

                return pairs;
            case 9: // characters
                var length = Whole();
                return length < 0 ? string.Empty : Encoding.UTF8.GetString(Take(length));
            case 10 or 13: // whole numbers, a factor among them
                var wholes = new double[Whole()];
                for (var i = 0; i < wholes.Length; i++)
                {
                    wholes[i] = Whole();
                }

                return hasAttributes && Item() is Pairs own && own.Items.Any(p => p.Tag == "levels")
                    ? Array.ConvertAll(wholes, w => w - 1)
                    : wholes;
            case 14:
                var numbers = new double[Whole()];
                for (var i = 0; i < numbers.Length; i++)
                {
                    numbers[i] = BinaryPrimitives.ReadDoubleBigEndian(Take(8));
                }

                if (hasAttributes)
                {
                    Item();
                }

                return numbers;
            case 16:
                var texts = new string[Whole()];
                for (var i = 0; i < texts.Length; i++)
                {
                    texts[i] = (string)Item()!;
                }

                if (hasAttributes)
                {
                    Item();
                }

                return texts;
            case 19:
                var values = new object?[Whole()];
                for (var i = 0; i < values.Length; i++)
                {
                    values[i] = Item();
                }

                var names =
                    hasAttributes && Item() is Pairs attributes
                        ? attributes.Items.FirstOrDefault(p => p.Tag == "names").Value as string[]
                        : null;
                return new Frame(names ?? [], values);
            default:
                throw new BenchmarkException($"R's type {flags & 0xFF} at byte {_at} is not read{(hasTag ? " (tagged)" : string.Empty)}.");
        }
    }

    private int Whole() => BinaryPrimitives.ReadInt32BigEndian(Take(4));

    private ReadOnlySpan<byte> Take(int count)
    {
        _at += count;
        return _bytes.AsSpan(_at - count, count);
    }

    private sealed record Frame(string[] Names, object?[] Values);

    private sealed class Pairs
    {
        public List<(string Tag, object? Value)> Items { get; } = [];

        public object? First => Items[0].Value;
    }
}
