namespace Influence.Gradients;

/// <summary>A run of elements of one parameter, in its row-major order: one written-out part of a block.</summary>
internal sealed record ParameterPart(ModelParameter Parameter, long Start, long Count);
