using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Numerics;

/// <summary>Random tensors from the same generator, alike for the same seed on every device and version of the tensor library.</summary>
internal static class SeededNumbers
{
    /// <summary>A number that depends on every bit of both, for orders and draws.</summary>
    public static ulong Hash(long seed, ulong counter) => KeyedRandom.Mix(KeyedRandom.Mix((ulong)seed) ^ counter);

    /// <summary>Standard normal numbers.</summary>
    /// <returns><c>[rows, columns]</c>, in the current scope.</returns>
    public static Tensor Normal(long seed, long rows, long columns, ScalarType dtype, Device device)
    {
        // Box and Muller: two uniform numbers give two normal ones.
        var values = new double[rows * columns];
        for (var i = 0L; i < values.LongLength; i += 2)
        {
            var radius = Math.Sqrt(-2 * Math.Log(1 - Uniform(seed, (ulong)i)));
            var (sine, cosine) = Math.SinCos(2 * Math.PI * Uniform(seed, (ulong)i + 1));
            values[i] = radius * cosine;
            if (i + 1 < values.LongLength)
            {
                values[i + 1] = radius * sine;
            }
        }

        return tensor(values, dtype: dtype, device: device).reshape(rows, columns);
    }

    /// <summary>Plus and minus ones, each with probability one half.</summary>
    /// <returns><c>[rows, columns]</c>, in the current scope.</returns>
    public static Tensor Signs(long seed, long rows, long columns, ScalarType dtype, Device device)
    {
        var values = new double[rows * columns];
        for (var i = 0L; i < values.LongLength; i++)
        {
            values[i] = (Hash(seed, (ulong)i) >> 63) == 0 ? 1 : -1;
        }

        return tensor(values, dtype: dtype, device: device).reshape(rows, columns);
    }

    private static double Uniform(long seed, ulong counter) => KeyedRandom.Unit(Hash(seed, counter));
}
