using Influence;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Samples;

/// <summary>A bar for each stage, with its rate and the time that is left; what is done stays above what follows.</summary>
internal sealed class StageBars : IStageDisplay
{
    private const int MostTogether = 8;

    private readonly Dictionary<StageKey, ProgressTask> _bars = [];
    private ProgressContext? _context;
    private TaskCompletionSource? _end;
    private Task _shown = Task.CompletedTask;

    public void Show(StageKey stage, InfluenceProgress value)
    {
        var isDone = value.Done >= value.Total;
        if (_bars.TryGetValue(stage, out var bar) && bar.IsFinished && isDone)
        {
            return;
        }

        if (bar is null || bar.IsFinished)
        {
            bar = Add(stage);
        }

        bar.Description = Markup.Escape(value.Stage);
        bar.MaxValue = Math.Max(1, value.Total);
        bar.Value = isDone ? bar.MaxValue : value.Done;
    }

    public void Settle()
    {
        foreach (var bar in _bars.Values)
        {
            bar.StopTask();
        }

        _end?.SetResult();
        _shown.GetAwaiter().GetResult();
        _bars.Clear();
        (_context, _end, _shown) = (null, null, Task.CompletedTask);
    }

    private ProgressTask Add(StageKey stage)
    {
        if (_bars.Count >= MostTogether)
        {
            Settle();
        }

        if (_context is null)
        {
            var end = _end = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _shown = Terminal
                .Out.Progress()
                .Columns(
                    new TaskDescriptionColumn { Alignment = Justify.Left },
                    new ProgressBarColumn { Width = 30 },
                    new PercentageColumn(),
                    new RateColumn(),
                    new RemainingTimeColumn()
                )
                .StartAsync(context =>
                {
                    _context = context;
                    return end.Task;
                });
        }

        return _bars[stage] = _context!.AddTask(Markup.Escape(stage.Name));
    }

    private sealed class RateColumn : ProgressColumn
    {
        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            new Text(task.Speed is { } speed ? $"{speed:#,0.#}/s" : string.Empty);
    }
}
