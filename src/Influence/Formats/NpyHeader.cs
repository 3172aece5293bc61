using System.Globalization;
using System.Text.RegularExpressions;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>The header of a .npy file: a dictionary in Python's notation, with keys in any order.</summary>
/// <param name="Type">float16, float32 or float64.</param>
/// <param name="Size">Bytes of one number.</param>
/// <param name="Fortran">Whether the first dimension varies fastest.</param>
/// <param name="Shape">The shape.</param>
internal sealed partial record NpyHeader(ScalarType Type, int Size, bool Fortran, long[] Shape)
{
    private const int MostDimensions = 64;

    /// <summary>The bytes of all numbers.</summary>
    public Int128 Bytes => Shape.Aggregate((Int128)Size, (a, b) => a > long.MaxValue ? a : a * b);

    /// <summary>Reads the dictionary; null where it is none of these arrays.</summary>
    public static NpyHeader? Parse(string text)
    {
        var tokens = new Tokens(text);
        var (type, size) = (ScalarType.Float32, 0);
        bool? fortran = null;
        long[]? shape = null;
        if (!tokens.Take("{"))
        {
            return null;
        }

        while (!tokens.Take("}"))
        {
            var key = tokens.Text();
            if (key is null || !tokens.Take(":"))
            {
                return null;
            }

            var known = key switch
            {
                "descr" when size == 0 => TryType(tokens.Text(), out type, out size),
                "fortran_order" when fortran is null => (fortran = tokens.Boolean()) is not null,
                "shape" when shape is null => (shape = tokens.Numbers()) is not null,
                _ => false,
            };
            if (!known || (!tokens.Take(",") && !tokens.Next("}")))
            {
                return null;
            }
        }

        return tokens.AtEnd && size > 0 && fortran is { } order && shape is { Length: <= MostDimensions }
            ? new NpyHeader(type, size, order, shape)
            : null;
    }

    private static bool TryType(string? name, out ScalarType type, out int size)
    {
        (type, size) = name switch
        {
            "<f2" => (ScalarType.Float16, 2),
            "<f4" => (ScalarType.Float32, 4),
            "<f8" => (ScalarType.Float64, 8),
            _ => (ScalarType.Float32, 0),
        };
        return size > 0;
    }

    [GeneratedRegex(@"\G\s*(?:'(?<text>[^'\\]*)'|""(?<text>[^""\\]*)""|(?<word>True|False)|(?<number>[0-9]+)L?|(?<mark>[{}(),:]))")]
    private static partial Regex Token();

    private sealed class Tokens(string text)
    {
        private Match _next = Token().Match(text);
        private int _end;

        public bool AtEnd => text.AsSpan(_end).Trim().IsEmpty;

        public bool Next(string mark) => _next.Groups["mark"].ValueSpan.SequenceEqual(mark);

        public bool Take(string mark) => Next(mark) && Pass();

        public string? Text() => _next.Groups["text"] is { Success: true } group && Pass() ? group.Value : null;

        public bool? Boolean() => _next.Groups["word"] is { Success: true } group && Pass() ? group.Value == "True" : null;

        /// <summary>A tuple: (), (3,), (3, 4) and so on; (3) is none.</summary>
        public long[]? Numbers()
        {
            var numbers = new List<long>();
            if (!Take("("))
            {
                return null;
            }

            while (!Take(")"))
            {
                if (
                    !long.TryParse(_next.Groups["number"].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
                    || !Pass()
                )
                {
                    return null;
                }

                numbers.Add(number);
                if (!Take(",") && (numbers.Count < 2 || !Next(")")))
                {
                    return null;
                }
            }

            return [.. numbers];
        }

        private bool Pass()
        {
            _end = _next.Index + _next.Length;
            _next = Token().Match(text, _end);
            return true;
        }
    }
}
