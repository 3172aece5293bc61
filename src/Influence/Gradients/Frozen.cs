using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Keeps a model's trainable parameters out of autograd until it is disposed, for gradients of inputs.</summary>
internal sealed class Frozen : IDisposable
{
    private readonly IReadOnlyList<ModelParameter> _parameters;

    public Frozen(IReadOnlyList<ModelParameter> trainable)
    {
        _parameters = trainable;
        Set(false);
    }

    public void Dispose() => Set(true);

    private void Set(bool requiresGrad)
    {
        foreach (var parameter in _parameters)
        {
            parameter.Value.requires_grad = requiresGrad;
        }
    }
}
