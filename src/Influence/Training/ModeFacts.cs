namespace Influence.Training;

/// <summary>What a model does with some of its modules in training mode, beside what it does in evaluation mode.</summary>
/// <param name="WritesInPlace">Something writes to what a tracked layer saw, as in-place dropout does.</param>
/// <param name="Mixes">An example's loss depends on the others of its batch.</param>
/// <param name="IsDeterministic">The losses are those of evaluation mode.</param>
internal sealed record ModeFacts(bool WritesInPlace, bool Mixes, bool IsDeterministic);
