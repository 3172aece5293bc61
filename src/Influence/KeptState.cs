using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>
/// The weights, buffers and gradients that a model has now, for calls that step on it and put everything back. Copied bit by
/// bit; disposing it restores all.
/// </summary>
internal sealed class KeptState : IDisposable
{
    private readonly nn.Module _model;
    private readonly KeptWeights _weights;
    private readonly Dictionary<string, Tensor?> _gradients = [];

    public KeptState(nn.Module model)
    {
        _model = model;
        _weights = new KeptWeights(model);
        using var scope = NewDisposeScope();
        foreach (var (name, parameter) in model.named_parameters())
        {
            _gradients.Add(name, parameter.grad?.detach().clone().DetachFromDisposeScope());
        }
    }

    /// <summary>Weights and buffers as they were.</summary>
    public void Restore() => _weights.Restore();

    /// <summary>No parameter has a gradient, so that an optimizer steps on those only that the next backward pass reaches.</summary>
    public void ClearGradients()
    {
        using var scope = NewDisposeScope();
        foreach (var parameter in _model.parameters())
        {
            parameter.grad = null;
        }
    }

    public void Dispose()
    {
        Restore();
        using (NewDisposeScope())
        {
            foreach (var (name, parameter) in _model.named_parameters())
            {
                parameter.grad = _gradients[name]?.clone();
            }
        }

        _weights.Dispose();
        foreach (var value in _gradients.Values.OfType<Tensor>())
        {
            value.Dispose();
        }
    }
}
