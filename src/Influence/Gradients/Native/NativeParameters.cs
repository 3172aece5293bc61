using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The parameters of a native module by their native names, and the tracked layers that are made over them: one for each
/// projection and each norm whose parameters take part.
/// </summary>
/// <param name="module">The module.</param>
/// <param name="selected">Those of its parameters that take part, not empty.</param>
internal sealed class NativeParameters(nn.Module module, IReadOnlyList<ModelParameter> selected)
{
    private readonly List<TrackedLayer> _layers = [];

    public nn.Module Module => module;

    /// <summary>The module's path; empty for the model itself.</summary>
    public string Path => selected[0].Path;

    /// <summary>The layers made so far.</summary>
    public IReadOnlyList<TrackedLayer> Layers => _layers;

    /// <summary>The parameter as it is now, connected to the graph; null where the module has none of that name.</summary>
    public Parameter? Find(string name) => module.get_parameter(name);

    /// <summary>A layer over rows of a weight and of a bias; null where neither takes part.</summary>
    /// <param name="name">The layer's name, for messages.</param>
    /// <param name="rule">Its rule.</param>
    /// <param name="weight">The weight's name.</param>
    /// <param name="bias">The bias's name.</param>
    /// <param name="third">Which third of the rows, where q, k and v are packed.</param>
    public TrackedLayer? Track(string name, LayerRule rule, string weight, string bias, PackedRows? third = null)
    {
        // A weight of its own may stand beside a packed bias.
        var (weightPart, biasPart) = (
            Part(weight, weight.EndsWith("in_proj_weight", StringComparison.Ordinal)),
            Part(bias, third is not null)
        );
        if (weightPart is null && biasPart is null)
        {
            return null;
        }

        var layer = new TrackedLayer(Path.Length == 0 ? name : $"{Path}.{name}", rule, weightPart, biasPart);
        _layers.Add(layer);
        return layer;

        ParameterPart? Part(string of, bool packed) =>
            selected.FirstOrDefault(p => p.LocalName == of) switch
            {
                null => null,
                { } found when packed => new ParameterPart(found, (long)third! * (found.Count / 3), found.Count / 3, third.ToString()),
                { } found => ParameterPart.Whole(found),
            };
    }
}

/// <summary>The thirds of the rows of a packed projection, by libtorch's order.</summary>
internal enum PackedRows : long
{
    q,
    k,
    v,
}
