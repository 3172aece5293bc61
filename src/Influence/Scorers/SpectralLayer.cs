namespace Influence.Scorers;

/// <summary>A linear layer whose gradients' spectra are taken.</summary>
/// <param name="Block">The session's block that holds its weight.</param>
/// <param name="Name">Its path, or its weight's name where the path alone does not say which.</param>
/// <param name="Outputs">O.</param>
/// <param name="Inputs">I.</param>
internal sealed record SpectralLayer(int Block, string Name, long Outputs, long Inputs);
