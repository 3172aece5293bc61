namespace Influence.Benchmarks.Shared;

/// <summary>Something the user can put right; the message says how and is printed without a stack trace.</summary>
internal sealed class BenchmarkException(string message) : Exception(message);
