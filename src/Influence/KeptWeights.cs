using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>A copy, bit by bit, of the weights and buffers that a model has now; the model is claimed meanwhile. Disposing it frees the
/// copy and restores nothing.</summary>
internal sealed class KeptWeights : IDisposable
{
    private readonly nn.Module _model;
    private readonly Dictionary<string, Tensor> _state = [];
    private readonly ModelInUse _claim;

    public KeptWeights(nn.Module model)
    {
        _model = model;
        _claim = ModelInUse.Claim(model);
        try
        {
            using var scope = NewDisposeScope();
            foreach (var (name, value) in model.state_dict())
            {
                _state.Add(name, value.detach().clone().DetachFromDisposeScope());
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Puts them back into the model.</summary>
    public void Restore()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        foreach (var (name, value) in _model.state_dict())
        {
            value.copy_(_state[name]);
        }
    }

    public void Dispose()
    {
        foreach (var value in _state.Values)
        {
            value.Dispose();
        }

        _state.Clear();
        _claim.Dispose();
    }
}
