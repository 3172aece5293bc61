using System.Collections;
using System.Collections.Concurrent;
using System.Reflection;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Hooks of the user's own on a layer. One that was registered first runs before the library's: what it makes of the layer's output, and
/// of the layer's weights, lies where the library thinks the layer itself. TorchSharp does not say which hooks there are, so its lists are
/// read by reflection.
/// </summary>
internal static class ForeignHooks
{
    private const BindingFlags Own = BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;
    private static readonly ConcurrentDictionary<Type, FieldInfo[]> s_lists = [];

    /// <summary>Whether anything runs behind a module's forward pass; asked before the library registers hooks of its own.</summary>
    public static bool On(nn.Module module) =>
        s_lists.GetOrAdd(module.GetType(), ListsOf).Any(field => field.GetValue(module) is ICollection { Count: > 0 });

    private static FieldInfo[] ListsOf(Type module)
    {
        List<FieldInfo> found = [];
        for (var type = module; type is not null; type = type.BaseType)
        {
            found.AddRange(type.GetFields(Own).Where(field => field.Name.EndsWith("post_hooks", StringComparison.Ordinal)));
        }

        return [.. found];
    }

    /// <summary>Whether an output is the layer's own for its input, to the last bit: hooks that only look leave it so.</summary>
    public static bool LeftAlone(nn.Module<Tensor, Tensor> layer, Tensor input, Tensor output)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var own = layer.forward(input.detach());
        return own.shape.AsSpan().SequenceEqual(output.shape) && SameNumbers.Are(own, output);
    }
}
