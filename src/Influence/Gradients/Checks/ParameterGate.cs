using Influence.Numerics;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Finds uses of a weight that no hook sees, in every batch and at no cost: during a pass a parameter is frozen only while its own
/// layer runs, so that no weight gradient is computed there. Whatever else reads it (<c>functional.linear(x, layer.weight)</c>, a
/// penalty on it, <c>layer.forward(x)</c>) leaves it a gradient in the very backward pass that the layers' outputs are differentiated in.
/// </summary>
internal sealed class ParameterGate : IDisposable
{
    private readonly Dictionary<TensorIdentity, (ModelParameter Parameter, Tensor Value)> _watched;

    /// <summary>Lets the parameters take part in autograd until this is disposed, which freezes them.</summary>
    /// <param name="parameters">Parameters whose gradients come from layer rules; frozen.</param>
    public ParameterGate(IEnumerable<ModelParameter> parameters)
    {
        _watched = parameters.DistinctBy(p => p.Storage).ToDictionary(p => p.Storage, p => (p, (Tensor)p.Value));
        Set(_watched.Values.Select(w => w.Value), true);
    }

    /// <summary>What to differentiate by, beside the layers' outputs.</summary>
    public IEnumerable<Tensor> Values => _watched.Values.Select(w => w.Value);

    /// <summary>The watched ones among a layer's parameters.</summary>
    public Tensor[] Of(TrackedLayer layer) =>
        [.. layer.Parts.Where(part => _watched.ContainsKey(part.Parameter.Storage)).Select(part => _watched[part.Parameter.Storage].Value)];

    public static void Set(IEnumerable<Tensor> values, bool takesPart)
    {
        foreach (var value in values)
        {
            value.requires_grad = takesPart;
        }
    }

    /// <summary>The parameters that the losses depend on past their layers.</summary>
    /// <param name="gradients">The gradients of <see cref="Values"/>, in order.</param>
    public List<ModelParameter> UsedElsewhere(ReadOnlySpan<Tensor?> gradients)
    {
        var found = new List<ModelParameter>();
        var next = 0;
        foreach (var (parameter, _) in _watched.Values)
        {
            // A penalty with a weight of zero is no use.
            if (gradients[next++] is { } gradient && gradient.Strided().ne(Kept(0)).any().item<bool>())
            {
                found.Add(parameter);
            }
        }

        return found;
    }

    public void Dispose() => Set(Values, false);
}
