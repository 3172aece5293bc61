using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>Numbers of the rows of matrices <c>[K, P]</c>, summed in double.</summary>
internal static class Rows
{
    /// <summary>The dot products of rows.</summary>
    public static double[] Dot(Tensor a, Tensor b)
    {
        using var scope = NewDisposeScope();
        return (a * b).sum(1, type: ScalarType.Float64).cpu().data<double>().ToArray();
    }

    /// <summary>The lengths of rows.</summary>
    public static double[] Norms(Tensor a) => [.. Dot(a, a).Select(Math.Sqrt)];

    /// <summary>Quotients; zero where both are zero.</summary>
    public static double[] Ratio(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x == 0 ? 0 : x / y)];

    /// <summary>One number a row, as <c>[K, 1]</c> beside a matrix.</summary>
    public static Tensor Column(double[] values, Tensor like) => tensor(values, dtype: like.dtype, device: like.device).unsqueeze(1);

    /// <summary>The rows at these positions.</summary>
    public static Tensor Pick(Tensor a, int[] positions) => a.index_select(0, Index(positions, a));

    public static Tensor Index(int[] positions, Tensor like) => tensor(positions.Select(p => (long)p).ToArray(), device: like.device);
}
