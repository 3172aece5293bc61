using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Lets parameters of an open session, which are frozen, take part in autograd until it is disposed.</summary>
internal sealed class Unfrozen : IDisposable
{
    private readonly IReadOnlyList<Tensor> _parameters;

    public Unfrozen(IReadOnlyList<Tensor> parameters)
    {
        _parameters = parameters;
        Set(true);
    }

    public void Dispose() => Set(false);

    private void Set(bool requiresGrad)
    {
        foreach (var parameter in _parameters)
        {
            parameter.requires_grad = requiresGrad;
        }
    }
}
