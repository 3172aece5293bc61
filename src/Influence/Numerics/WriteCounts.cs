using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Numerics;

/// <summary>
/// How often tensors were written to in place, as libtorch counts it for autograd: a tensor shares its count with its views and with what
/// was detached from it, so that a write through any of them shows. TorchSharp does not give the count; a line of TorchScript does.
/// </summary>
internal static class WriteCounts
{
    private static readonly Lazy<jit.CompilationUnit> s_script = new(() =>
        jit.compile(
            """
            def counts(tensors: List[Tensor]):
                found: List[int] = []
                for tensor in tensors:
                    found.append(tensor._version())
                return torch.tensor(found)

            """
        )
    );

    /// <summary>One count for each tensor, in order; null where one of them has none, as what was made under inference_mode, which nothing
    /// can write to outside of it.</summary>
    public static long[]? Of(IReadOnlyList<Tensor> tensors)
    {
        if (tensors.Count == 0)
        {
            return [];
        }

        Tensor[] all = [.. tensors];
        try
        {
            using var counts = (Tensor)s_script.Value.invoke("counts", (object)all);
            return [.. counts.data<long>()];
        }
        catch (ExternalException)
        {
            return null;
        }
        finally
        {
            // Native code holds raw handles.
            GC.KeepAlive(all);
        }
    }
}
