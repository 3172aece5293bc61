using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Influence.Gradients;

/// <summary>
/// How much checking a task's runs do: a fiftieth of the time that they take, and beyond that a quarter of a second or 32 checks in all, in
/// which a small run is checked whole.
/// </summary>
internal sealed class CheckBudget
{
    /// <summary>The share of a run's time that checks may take.</summary>
    public const double Share = 0.02;

    private static readonly TimeSpan s_allowance = TimeSpan.FromMilliseconds(250);
    private static readonly ConditionalWeakTable<InfluenceTask, CheckBudget> s_budgets = [];

    /// <summary>So many checks are made whatever the machine is busy with, unless they take as long as this.</summary>
    private const int Least = 32;

    private static readonly TimeSpan s_most = TimeSpan.FromSeconds(2.5);

    private readonly Stopwatch _run = new();
    private readonly Stopwatch _spent = new();
    private TimeSpan _last;
    private int _checks;
    private int _open;

    /// <summary>The one of a task, whose runs share it: a session for each checkpoint is one run in parts.</summary>
    public static CheckBudget Of(InfluenceTask task) => s_budgets.GetOrCreateValue(task);

    /// <summary>Whether another check fits, one that is like the last.</summary>
    public bool Allows =>
        _spent.Elapsed + _last <= s_allowance + (_run.Elapsed * Share) || (_checks < Least && _spent.Elapsed + _last <= s_most);

    /// <summary>A run goes on until the result is disposed.</summary>
    public IDisposable Running() => new Run(this);

    /// <summary>Runs a check on the account.</summary>
    public T Charge<T>(Func<T> check)
    {
        var before = _spent.Elapsed;
        _spent.Start();
        try
        {
            return check();
        }
        finally
        {
            _spent.Stop();
            _last = _spent.Elapsed - before;
            _checks++;
        }
    }

    private sealed class Run : IDisposable
    {
        private CheckBudget? _budget;

        public Run(CheckBudget budget)
        {
            _budget = budget;
            budget._open++;
            budget._run.Start();
        }

        public void Dispose()
        {
            if (_budget is { } budget && --budget._open == 0)
            {
                budget._run.Stop();
            }

            _budget = null;
        }
    }
}
