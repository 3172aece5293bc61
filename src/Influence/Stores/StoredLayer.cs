using Influence.Gradients;

namespace Influence.Stores;

/// <summary>One parameter, or a part of one, as a matrix, and what is kept of it; a vector is a matrix of one column.</summary>
/// <param name="Name">The part's name.</param>
/// <param name="Outputs">O.</param>
/// <param name="Inputs">I.</param>
/// <param name="KeptOutputs">k_o; O where nothing is projected.</param>
/// <param name="KeptInputs">k_i; I where nothing is projected.</param>
internal sealed record StoredLayer(string Name, long Outputs, long Inputs, long KeptOutputs, long KeptInputs)
{
    /// <summary>How many numbers are kept of an example.</summary>
    public long Size() => KeptOutputs * KeptInputs;

    public static StoredLayer Of(ParameterPart part, long dimension)
    {
        var shape = part.Parameter.Value.shape;
        var inputs = shape.Length < 2 ? 1 : shape.Skip(1).Aggregate(1L, (a, b) => a * b);
        if (shape.Length < 2 || inputs == 0 || part.Count % inputs != 0)
        {
            return new StoredLayer(part.Name, part.Count, 1, part.Count <= dimension * dimension ? part.Count : dimension, 1);
        }

        var outputs = part.Count / inputs;
        return new StoredLayer(part.Name, outputs, inputs, Math.Min(outputs, dimension), Math.Min(inputs, dimension));
    }
}
