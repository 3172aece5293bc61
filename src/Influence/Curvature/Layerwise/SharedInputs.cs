using Influence.Gradients;
using TorchSharp;

namespace Influence.Curvature;

/// <summary>
/// Covariances of activations, one for all layers that see the same input, as the query, key and value projections of an
/// attention layer do: computed, decomposed and kept once.
/// </summary>
internal sealed class SharedInputs : IDisposable
{
    private readonly List<InputCovariance> _all = [];

    /// <summary>The covariance for a layer's input in a first batch: that of a layer with the same input, or a new one.</summary>
    /// <param name="sample">The layer's gradients in a first batch.</param>
    /// <param name="maximumFactor">The largest diagonal block.</param>
    /// <param name="splits">The sizes of the diagonal blocks, for a layer that shares its input with none; null for one block.</param>
    public InputCovariance For(FactoredGradients sample, int maximumFactor, IReadOnlyList<long>? splits = null)
    {
        var key = sample.InputKey;
        var found = key is null ? null : _all.Find(c => c.Key == key && c.Bias == sample.Bias);
        if (found is null)
        {
            found = new InputCovariance(
                key,
                sample.Bias,
                new Covariance(FactorLayout.Sizes(splits ?? [sample.Inputs + (sample.Bias ? 1 : 0)], maximumFactor))
            );
            _all.Add(found);
        }

        return found;
    }

    /// <summary>Before a batch is added: no covariance has seen it yet.</summary>
    public void BeginBatch()
    {
        foreach (var covariance in _all)
        {
            covariance.BeginBatch();
        }
    }

    public void Dispose()
    {
        foreach (var covariance in _all)
        {
            covariance.Dispose();
        }
    }
}

/// <summary>The covariance of one input, for every layer that sees it.</summary>
internal sealed class InputCovariance(string? key, bool bias, Covariance sums) : IDisposable
{
    private string? _batch;
    private bool _seen;
    private FactorBasis? _basis;

    /// <summary>Which tensor the input was in the first batch; null where that is not known.</summary>
    public string? Key => key;

    public bool Bias => bias;

    public void BeginBatch() => _seen = false;

    /// <summary>Adds a layer's activations, unless another layer has added the same ones for this batch.</summary>
    /// <returns>False where another layer's input was a different one this time: they share no longer.</returns>
    public bool TryAdd(FactoredGradients gradients)
    {
        if (_seen)
        {
            return gradients.InputKey is { } own && own == _batch;
        }

        (_seen, _batch) = (true, gradients.InputKey);
        using var scope = torch.NewDisposeScope();
        sums.Add(gradients.CountedActivation(), gradients.CountedPositions()); // [R, I']
        return true;
    }

    /// <summary>Whether every sum is a number.</summary>
    public bool IsFinite => _basis is not null || sums.IsFinite;

    /// <summary>The basis; made once.</summary>
    public FactorBasis Decompose(torch.ScalarType dtype) => _basis ??= sums.Decompose(dtype);

    /// <summary>Names the sums, or the basis, once for all layers that have this input; gives the basis where there is one.</summary>
    public FactorBasis? Exchange(FitState state, FitStage stage)
    {
        const string Name = "input";
        if (state.Owns(this, Name))
        {
            if (stage == FitStage.Sums)
            {
                sums.Exchange(state, Name);
            }
            else
            {
                state.Basis(Name, ref _basis);
            }
        }

        return _basis;
    }

    public void Dispose() => sums.Dispose();
}
