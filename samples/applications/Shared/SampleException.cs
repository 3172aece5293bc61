namespace Samples;

/// <summary>Something that whoever runs the sample can mend; only its message is shown.</summary>
internal sealed class SampleException(string message, int exitCode = 1) : Exception(message)
{
    public int ExitCode { get; } = exitCode;
}
