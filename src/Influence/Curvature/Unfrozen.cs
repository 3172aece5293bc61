using TorchSharp.Modules;

namespace Influence.Curvature;

/// <summary>Lets parameters of an open session, which are frozen, take part in autograd until it is disposed.</summary>
internal sealed class Unfrozen : IDisposable
{
    private readonly IReadOnlyList<Parameter> _parameters;

    public Unfrozen(IReadOnlyList<Parameter> parameters)
    {
        _parameters = parameters;
        foreach (var parameter in parameters)
        {
            parameter.requires_grad = true;
        }
    }

    public void Dispose()
    {
        foreach (var parameter in _parameters)
        {
            parameter.requires_grad = false;
        }
    }
}
