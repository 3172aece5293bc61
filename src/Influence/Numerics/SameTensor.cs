using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Influence.Numerics;

/// <summary>
/// Whether two objects stand for one tensor. TorchSharp hands out new objects for one parameter, and two parameters may lie over one
/// memory, so neither objects nor addresses tell; what is set on a tensor shows on every object that stands for it.
/// </summary>
internal static class SameTensor
{
    /// <summary>Whether they are one; both are leaves of autograd.</summary>
    public static bool Are(Tensor first, Tensor second)
    {
        if (first.Handle == second.Handle)
        {
            return true;
        }

        var (own, other) = (first.requires_grad, second.requires_grad);
        if (own != other)
        {
            return false;
        }

        try
        {
            first.requires_grad = !own;
            return second.requires_grad != other;
        }
        catch (ExternalException)
        {
            // Of a type, or made under inference_mode, that autograd does not follow: it trains nothing.
            return false;
        }
        finally
        {
            if (first.requires_grad != own)
            {
                first.requires_grad = own;
            }
        }
    }
}
