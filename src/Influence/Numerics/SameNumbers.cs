using static TorchSharp.torch;

namespace Influence.Numerics;

/// <summary>Whether two tensors of one shape hold the same numbers, NaN where the other has NaN.</summary>
internal static class SameNumbers
{
    public static bool Are(Tensor first, Tensor second) =>
        first.eq(second).logical_or(first.ne(first).logical_and(second.ne(second))).all().item<bool>();
}
