using System.CommandLine;
using System.CommandLine.Help;
using System.Runtime.InteropServices;
using Influence;

namespace Samples;

/// <summary>Runs the sample's steps under the manners of a command: exit codes, messages without stack traces, Ctrl-C.</summary>
internal static class CommandLine
{
    private const int UsageError = 2;
    private const int SignalBase = 128;
    private const int Interrupt = 2;
    private const int Terminate = 15;

    public static int Run<TOptions>(string[] arguments, Action<TOptions, CancellationToken> steps)
        where TOptions : ICommandOptions<TOptions>
    {
        using var cancellation = new CancellationTokenSource();
        var received = 0;
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Stop(context, Interrupt));
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Stop(context, Terminate));
        try
        {
            var given = Parse(TOptions.Command, arguments);
            if (given.Action is HelpAction)
            {
                return given.Invoke();
            }

            if (given.Errors is [var error, ..])
            {
                throw new SampleException(
                    $"{string.Join(' ', error.Message.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))} "
                        + "--help says what there is.",
                    UsageError
                );
            }

            steps(TOptions.Of(given), cancellation.Token);
            return 0;
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            Console.Error.WriteLine("Interrupted; nothing more was written.");
            return SignalBase + received;
        }
        catch (SampleException exception)
        {
            Console.Error.WriteLine(exception.Message);
            return exception.ExitCode;
        }
        catch (InfluenceException exception)
        {
            Console.Error.WriteLine(exception.Message);
            return 1;
        }

        // The first signal lets the step under way come to its end; a second one ends the process at once.
        void Stop(PosixSignalContext context, int signal)
        {
            context.Cancel = received == 0;
            if (received != 0)
            {
                Terminal.ShowCursor();
            }

            received = signal;
            cancellation.Cancel();
        }
    }

    /// <summary>No option but those of the sample and help, and no file of further arguments.</summary>
    private static ParseResult Parse(RootCommand command, string[] arguments)
    {
        foreach (var version in command.Options.OfType<VersionOption>().ToList())
        {
            command.Options.Remove(version);
        }

        return command.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
    }
}
