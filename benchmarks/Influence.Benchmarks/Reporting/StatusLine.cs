using Spectre.Console;

namespace Influence.Benchmarks.Reporting;

/// <summary>What is under way, beside standard output: on a terminal a line that is written over, elsewhere nothing.</summary>
internal sealed class StatusLine : IDisposable
{
    private readonly TaskCompletionSource _end = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private StatusContext? _context;
    private Task _shown = Task.CompletedTask;

    public void Show(string text)
    {
        if (Console.IsErrorRedirected)
        {
            return;
        }

        if (_context is null)
        {
            // Drawn only when it changes: what is measured runs beside it.
            _shown = AnsiConsole
                .Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) })
                .Status()
                .AutoRefresh(false)
                .StartAsync(
                    text,
                    context =>
                    {
                        _context = context;
                        return _end.Task;
                    }
                );
        }

        _context!.Status = Markup.Escape(text);
        _context.Refresh();
    }

    public void Dispose()
    {
        _end.TrySetResult();
        _shown.GetAwaiter().GetResult();
    }
}
