namespace Influence.Benchmarks.Shared;

/// <summary>How many examples, and the seed of the weights and of stand-in data.</summary>
internal sealed record WorkloadSize(int Train, int Queries, int Seed = 1);
