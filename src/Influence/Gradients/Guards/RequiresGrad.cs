using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Lets parameters take part in autograd, or keeps them out of it, until it is disposed; then it is the other way round.</summary>
internal sealed class RequiresGrad : IDisposable
{
    private readonly IReadOnlyList<Tensor> _parameters;
    private readonly bool _meanwhile;

    private RequiresGrad(IReadOnlyList<Tensor> parameters, bool meanwhile)
    {
        (_parameters, _meanwhile) = (parameters, meanwhile);
        Set(meanwhile);
    }

    /// <summary>For parameters of an open session, which are frozen.</summary>
    public static RequiresGrad On(IReadOnlyList<Tensor> parameters) => new(parameters, meanwhile: true);

    /// <summary>For trainable parameters, where gradients of something else are taken.</summary>
    public static RequiresGrad Off(IReadOnlyList<Tensor> parameters) => new(parameters, meanwhile: false);

    public void Dispose() => Set(!_meanwhile);

    private void Set(bool requiresGrad)
    {
        foreach (var parameter in _parameters)
        {
            parameter.requires_grad = requiresGrad;
        }
    }
}
