using Influence.Formats;
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

    /// <summary>Loads a checkpoint and returns its weights in the sum, parameter by parameter; without checkpoints nothing changes and they
    /// are 1.</summary>
    public ParameterRates Load(int index)
    {
        if (_checkpoints.Count == 0)
        {
            return ParameterRates.Same(1);
        }

        // What a checkpoint leaves as it is in the model is not what an earlier one put there.
        _original!.Restore();
        _checkpoints[index].LoadInto(_model);
        return _checkpoints[index].Rates;
    }

    public void Dispose()
    {
        _original?.Restore();
        _original?.Dispose();
    }
}
