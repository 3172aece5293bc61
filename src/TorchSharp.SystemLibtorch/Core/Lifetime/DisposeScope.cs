namespace TorchSharp;

/// <summary>
/// Owns every tensor made on its thread while it is the innermost scope, and disposes them with itself, unless they
/// were moved out or detached.
/// </summary>
public sealed partial class DisposeScope : IDisposable
{
    private DisposeScopeManager? _manager;

    internal DisposeScope(DisposeScopeManager manager)
    {
        _manager = manager;
        OuterScope = manager.CurrentDisposeScope;
    }

    public IReadOnlyList<IDisposable> DisposablesView => [.. Open().Disposables];

    public int DisposablesCount => Open().Disposables.Count;

    internal DisposeScope? OuterScope { get; set; }

    internal HashSet<IDisposable> Disposables { get; private set; } = new(ReferenceEqualityComparer.Instance);

    private LifetimeStatistics Statistics => _manager!.StatisticsInstance.TensorStatistics;

    public bool Contains(IDisposable disposable) => Disposables.Contains(disposable);

    /// <summary>Moves what this scope owns of the given tensors to another scope; to none when that is null.</summary>
    public void MoveToOther(DisposeScope? scope, IEnumerable<IDisposable> disposables)
    {
        Open();
        if (scope is null)
        {
            Detach(disposables);
            return;
        }

        foreach (var disposable in disposables)
        {
            if (Disposables.Remove(disposable))
            {
                scope.Adopt(disposable);
            }
        }
    }

    public void Detach(IEnumerable<IDisposable> disposables)
    {
        Open();
        foreach (var disposable in disposables)
        {
            if (Disposables.Remove(disposable))
            {
                Statistics.DetachedFromScopeCount++;
                TensorOf(disposable).OwningDisposeScope = null;
            }
        }
    }

    public IReadOnlyList<IDisposable> Attach(IEnumerable<IDisposable> disposables)
    {
        Open();
        var attached = new List<IDisposable>();
        foreach (var disposable in disposables)
        {
            if (Adopt(disposable))
            {
                Statistics.AttachedToScopeCount++;
            }

            attached.Add(disposable);
        }

        return attached;
    }

    public void DisposeEverythingBut(IEnumerable<IDisposable> inKeep)
    {
        Open();
        var owned = Disposables;
        Disposables = new HashSet<IDisposable>(inKeep, ReferenceEqualityComparer.Instance);
        foreach (var disposable in owned)
        {
            if (!Disposables.Contains(disposable))
            {
                disposable.Dispose();
            }
        }
    }

    public void MarkAsDisposed(IDisposable disposable)
    {
        Open();
        Disposables.Remove(disposable);
        TensorOf(disposable).OwningDisposeScope = null;
    }

    public void Dispose()
    {
        if (_manager is not null)
        {
            DisposeEverything();
            _manager.RemoveDisposeScope(this);
            _manager = null;
        }
    }

    /// <summary>Puts <paramref name="replacement"/> where <paramref name="original"/> is owned.</summary>
    internal static void ReplaceWith(torch.Tensor original, torch.Tensor replacement)
    {
        if (original.OwningDisposeScope is { } scope && scope.Disposables.Remove(original))
        {
            original.OwningDisposeScope = null;
            scope.Adopt(replacement);
        }
    }

    private static torch.Tensor TensorOf(IDisposable disposable) => disposable as torch.Tensor
        ?? throw new InvalidOperationException("DisposeScope can only manage Tensor or PackedSequence");

    // Returns false when the tensor is here already.
    private bool Adopt(IDisposable disposable)
    {
        var tensor = TensorOf(disposable);
        if (tensor.OwningDisposeScope == this)
        {
            Disposables.Add(tensor);
            return false;
        }

        tensor.OwningDisposeScope?.Disposables.Remove(tensor);
        tensor.OwningDisposeScope = this;
        Disposables.Add(tensor);
        return true;
    }

    private DisposeScope Open()
    {
        ObjectDisposedException.ThrowIf(_manager is null, this);
        return this;
    }
}
