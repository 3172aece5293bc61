using Influence.Display;

namespace Influence.Evaluation;

/// <summary>What one subset of a removal plan leaves out.</summary>
internal sealed record RemovalStep(string Method, RemovalCurve.Kind Kind, double Share, int Count);
