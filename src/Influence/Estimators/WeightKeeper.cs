using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>Puts a run's checkpoints into the model one after the other, and the weights that it had back at the end.</summary>
internal sealed class WeightKeeper : IDisposable
{
    private readonly nn.Module _model;
    private readonly IReadOnlyList<Checkpoint> _checkpoints;
    private readonly KeptWeights? _original;

    public WeightKeeper(nn.Module model, IReadOnlyList<Checkpoint> checkpoints)
    {
        _model = model;
        _checkpoints = checkpoints;
        _original = checkpoints.Count > 0 ? new KeptWeights(model) : null;
    }

    /// <summary>Loads a checkpoint and returns its weight in the sum; without checkpoints nothing changes and the weight is 1.</summary>
    public double Load(int index)
    {
        if (_checkpoints.Count == 0)
        {
            return 1;
        }

        // What a checkpoint leaves as it is in the model is not what an earlier one put there.
        _original!.Restore();
        _checkpoints[index].LoadInto(_model);
        return _checkpoints[index].LearningRate;
    }

    public void Dispose()
    {
        _original?.Restore();
        _original?.Dispose();
    }
}
