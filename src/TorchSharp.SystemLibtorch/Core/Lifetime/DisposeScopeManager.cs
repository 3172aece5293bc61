namespace TorchSharp;

/// <summary>The dispose scopes of one thread, and what was counted there.</summary>
public class DisposeScopeManager
{
    [ThreadStatic]
    private static DisposeScopeManager? _threadSingleton;

    public static ThreadDisposeScopeStatistics Statistics => ThreadSingleton.StatisticsInstance;

    internal static DisposeScopeManager ThreadSingleton => _threadSingleton ??= new DisposeScopeManager();

    internal ThreadDisposeScopeStatistics StatisticsInstance { get; } = new();

    internal DisposeScope? CurrentDisposeScope { get; private set; }

    internal DisposeScope NewDisposeScope() => CurrentDisposeScope = new DisposeScope(this);

    /// <summary>Puts a new tensor into the innermost scope, if there is one, and returns that.</summary>
    internal DisposeScope? RegisterOnCurrentDisposeScope(torch.Tensor tensor)
    {
        var statistics = StatisticsInstance.TensorStatistics;
        if (CurrentDisposeScope is not { } scope)
        {
            statistics.CreatedOutsideScopeCount++;
            return null;
        }

        statistics.CreatedInScopeCount++;
        scope.Disposables.Add(tensor);
        return scope;
    }

    internal void DisposingOnCurrentScope(torch.Tensor tensor)
    {
        var statistics = StatisticsInstance.TensorStatistics;
        if (tensor.OwningDisposeScope is null)
        {
            statistics.DisposedOutsideScopeCount++;
        }
        else
        {
            statistics.DisposedInScopeCount++;
        }
    }

    /// <summary>Takes a scope off the stack; scopes need not be disposed innermost first.</summary>
    internal void RemoveDisposeScope(DisposeScope removed)
    {
        if (CurrentDisposeScope == removed)
        {
            CurrentDisposeScope = removed.OuterScope;
            return;
        }

        for (var scope = CurrentDisposeScope; scope is not null; scope = scope.OuterScope)
        {
            if (scope.OuterScope == removed)
            {
                scope.OuterScope = removed.OuterScope;
                return;
            }
        }
    }
}
