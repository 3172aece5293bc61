using Microsoft.Extensions.Logging;

namespace Influence.Tests.Oracles;

/// <summary>A logger that keeps what it is told.</summary>
internal sealed class Messages : ILogger
{
    public List<string> All { get; } = [];

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel,
        EventId eventId,
        TState state,
        Exception? exception,
        Func<TState, Exception?, string> formatter
    ) => All.Add(formatter(state, exception));
}
