using System.Runtime.InteropServices;
using Influence;

namespace Samples;

/// <summary>Runs the sample's steps under the manners of a command: exit codes, messages without stack traces, Ctrl-C.</summary>
internal static class CommandLine
{
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
            var options = TOptions.Parse(arguments);
            if (options.Help)
            {
                Console.WriteLine(TOptions.Usage);
                return 0;
            }

            steps(options, cancellation.Token);
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
            received = signal;
            cancellation.Cancel();
        }
    }
}
