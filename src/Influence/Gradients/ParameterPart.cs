using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>A run of elements of one parameter, in its row-major order: one written-out part of a block.</summary>
/// <param name="Parameter">The parameter.</param>
/// <param name="Start">The first element.</param>
/// <param name="Count">The number of elements.</param>
/// <param name="Rows">What the elements are, where they are not the whole parameter: q of a packed projection, for example.</param>
internal sealed record ParameterPart(ModelParameter Parameter, long Start, long Count, string? Rows = null)
{
    /// <summary>The parameter's name, with the rows where it is a part only: <c>attention.in_proj_weight[q]</c>.</summary>
    public string Name => Rows is null ? Parameter.Name : $"{Parameter.Name}[{Rows}]";

    /// <summary>Equal for parts that are the same elements of one tensor: tied weights.</summary>
    public (TensorIdentity Storage, long Start, long Count) Memory => (Parameter.Storage, Start, Count);

    public static ParameterPart Whole(ModelParameter parameter) => new(parameter, 0, parameter.Count);

    /// <summary>This part of the flattened parameter, <c>[Count]</c>.</summary>
    public Tensor Of(Tensor flat) => flat.narrow(0, Start, Count);
}
