using System.Collections;
using System.Reflection;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Hooks of the user's own on a layer. One that was registered first runs before the library's: what it makes of the layer's output, and
/// of the layer's weights, lies where the library thinks the layer itself. TorchSharp does not say which hooks there are, so its lists are read by reflection.
/// </summary>
internal static class ForeignHooks
{
    private const BindingFlags Own = BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    /// <summary>Whether anything runs behind a module's forward pass; asked before the library registers hooks of its own.</summary>
    public static bool On(nn.Module module)
    {
        for (var type = module.GetType(); type is not null; type = type.BaseType)
        {
            if (type.GetFields(Own).Any(field => field.Name.EndsWith("post_hooks", StringComparison.Ordinal) && field.GetValue(module) is ICollection { Count: > 0 }))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether an output is the layer's own for its input, to the last bit: hooks that only look leave it so.</summary>
    public static bool LeftAlone(nn.Module<Tensor, Tensor> layer, Tensor input, Tensor output)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var own = layer.forward(input.detach());
        return own.shape.AsSpan().SequenceEqual(output.shape) && own.eq(output).logical_or(own.ne(own)).all().item<bool>();
    }
}
