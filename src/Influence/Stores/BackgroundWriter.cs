namespace Influence.Stores;

/// <summary>One piece of work at a time beside the calling thread. Disposing it waits for what runs: its buffers are then free.</summary>
internal sealed class BackgroundWriter : IDisposable
{
    private Task _running = Task.CompletedTask;

    /// <summary>Waits for the one before, throws what it threw, and begins the next.</summary>
    public void Start(Action write)
    {
        Finish();
        _running = Task.Run(write);
    }

    /// <summary>Waits, and throws what was thrown.</summary>
    public void Finish()
    {
        var running = _running;
        _running = Task.CompletedTask;
        running.GetAwaiter().GetResult();
    }

    public void Dispose()
    {
        // Another exception is on its way already, or Finish has told.
        Task.WhenAny(_running).GetAwaiter().GetResult();
    }
}
