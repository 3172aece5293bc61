using System.Runtime.InteropServices;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>What becomes of the graph that a backward pass goes through.</summary>
internal enum GraphAfter
{
    Freed,

    Kept,

    /// <summary>It is kept, and the gradients have a graph too: they can be differentiated again.</summary>
    Extended,
}

/// <summary>
/// Every backward pass of the library, where an error of libtorch can be caught. TorchSharp's <c>autograd.grad</c> has no guard:
/// whatever fails in it (an operator without a derivative, an in-place write, a graph that is gone, too little memory) ends the
/// process. The same function of libtorch throws where one line of TorchScript calls it.
/// </summary>
/// <remarks>
/// Not by <c>autograd.backward(..., inputs: ...)</c>, which is guarded too: it writes to the <c>.grad</c> of its inputs, copies
/// what it writes to outputs of layers, and under create_graph ties a parameter and its gradient into a cycle that is never freed.
/// </remarks>
internal static class GuardedBackward
{
    private static readonly Lazy<jit.CompilationUnit> s_script = new(() =>
        jit.compile(
            """
            def gradients(outputs: List[Tensor], inputs: List[Tensor], retain: bool, create: bool):
                return torch.autograd.grad(outputs, inputs, None, retain, create, True)

            def gradients_along(outputs: List[Tensor], inputs: List[Tensor], along: List[Tensor], retain: bool, create: bool):
                seeds: List[Optional[Tensor]] = []
                for seed in along:
                    seeds.append(seed)
                return torch.autograd.grad(outputs, inputs, seeds, retain, create, True)

            """
        )
    );

    /// <summary>The gradients of the summed outputs, as <c>autograd.grad</c> computes them; no <c>.grad</c> is read or written.</summary>
    /// <param name="outputs">What is differentiated; numbers, or anything where <paramref name="along"/> is given.</param>
    /// <param name="inputs">By what: leaves or not, that take part in autograd.</param>
    /// <param name="graph">What becomes of the graph.</param>
    /// <param name="along">One for each output and of its shape: the vector of a vector-Jacobian product.</param>
    /// <param name="ids">The batch's, for the message of a failure; null where there is no batch.</param>
    /// <returns>One for each input and of its shape, in the current scope; null where no output depends on it.</returns>
    /// <exception cref="InfluenceException">The graph cannot be differentiated.</exception>
    public static Tensor?[] Gradients(
        IEnumerable<Tensor> outputs,
        IEnumerable<Tensor> inputs,
        GraphAfter graph = GraphAfter.Freed,
        IEnumerable<Tensor>? along = null,
        IReadOnlyList<long>? ids = null
    )
    {
        Tensor[] from = [.. outputs];
        Tensor[] to = [.. inputs];
        Tensor[]? seeds = along is null ? null : [.. along];
        var (retain, create) = (graph != GraphAfter.Freed, graph == GraphAfter.Extended);
        try
        {
            var found = seeds is null
                ? s_script.Value.invoke("gradients", from, to, retain, create)
                : s_script.Value.invoke("gradients_along", from, to, seeds, retain, create);

            // A list without a gap comes as tensors, another as objects.
            return found as Tensor?[] ?? [.. ((object?[])found).Cast<Tensor?>()];
        }
        catch (ExternalException exception)
        {
            throw BackwardFailure.Explain(exception, ids);
        }
        finally
        {
            // Native code holds raw handles.
            GC.KeepAlive(from);
            GC.KeepAlive(to);
            GC.KeepAlive(seeds);
        }
    }

    /// <summary>Adds the gradients of a number to <c>.grad</c>, as <c>total.backward()</c> does.</summary>
    /// <param name="total">One number.</param>
    /// <param name="inputs">Whose; null: of every leaf that takes part in autograd.</param>
    /// <param name="graph">What becomes of the graph; it cannot be extended.</param>
    /// <param name="ids">The batch's, for the message of a failure; null where there is no batch.</param>
    /// <exception cref="InfluenceException">The graph cannot be differentiated.</exception>
    public static void Accumulate(
        Tensor total,
        IEnumerable<Tensor>? inputs = null,
        GraphAfter graph = GraphAfter.Freed,
        IReadOnlyList<long>? ids = null
    )
    {
        Tensor[]? to = inputs is null ? null : [.. inputs];
        try
        {
            autograd.backward([total], retain_graph: graph != GraphAfter.Freed, inputs: to);
        }
        catch (ExternalException exception)
        {
            throw BackwardFailure.Explain(exception, ids);
        }
        finally
        {
            GC.KeepAlive(to);
        }
    }
}
