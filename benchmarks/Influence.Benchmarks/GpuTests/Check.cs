using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.GpuTests;

/// <summary>One thing that must hold.</summary>
internal sealed record Check(string Name, Action Run);

/// <summary>It does not hold.</summary>
internal sealed class CheckFailedException(string message) : Exception(message);

/// <summary>What checks say.</summary>
internal static class Require
{
    public static void That(bool holds, string otherwise)
    {
        if (!holds)
        {
            throw new CheckFailedException(otherwise);
        }
    }

    /// <summary>The largest difference, relative to the largest expected value.</summary>
    public static void Close(Tensor actual, Tensor expected, double tolerance)
    {
        using var scope = NewDisposeScope();
        That(
            actual.shape.SequenceEqual(expected.shape),
            $"expected shape [{string.Join(", ", expected.shape)}], found [{string.Join(", ", actual.shape)}]"
        );
        var wide = actual.to_type(ScalarType.Float64).cpu();
        var error = ((wide - expected).abs().max() / expected.abs().max()).item<double>();
        That(error <= tolerance, string.Create(CultureInfo.InvariantCulture, $"relative error {error:E2}, allowed {tolerance:E0}"));
    }
}
