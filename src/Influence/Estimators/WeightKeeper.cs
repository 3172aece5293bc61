using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>Puts a run's checkpoints into the model one after the other, and the weights that it had back at the end.</summary>
internal sealed class WeightKeeper : IDisposable
{
    private readonly nn.Module _model;
    private readonly IReadOnlyList<Checkpoint> _checkpoints;
    private readonly Dictionary<string, Tensor> _original = [];

    public WeightKeeper(nn.Module model, IReadOnlyList<Checkpoint> checkpoints)
    {
        _model = model;
        _checkpoints = checkpoints;
        if (checkpoints.Count > 0)
        {
            using var scope = NewDisposeScope();
            foreach (var (name, value) in model.state_dict())
            {
                _original.Add(name, value.detach().clone().DetachFromDisposeScope());
            }
        }
    }

    /// <summary>Loads a checkpoint and returns its weight in the sum; without checkpoints nothing changes and the weight is 1.</summary>
    public double Load(int index)
    {
        if (_checkpoints.Count == 0)
        {
            return 1;
        }

        _checkpoints[index].LoadInto(_model);
        return _checkpoints[index].LearningRate;
    }

    public void Dispose()
    {
        using var scope = NewDisposeScope();
        using var grad = no_grad();
        var state = _original.Count == 0 ? [] : _model.state_dict();
        foreach (var (name, value) in _original)
        {
            state[name].copy_(value);
            value.Dispose();
        }

        _original.Clear();
    }
}
