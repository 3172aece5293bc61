using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// What forward passes in training mode move beside the weights, put back when this is disposed: the processor's random
/// generator, and the model's buffers (running statistics). A graphics card's generator has no readable state.
/// </summary>
internal sealed class UndisturbedState : IDisposable
{
    private readonly DisposableTensors _copies = new();
    private readonly List<(Tensor Buffer, Tensor Copy)> _buffers = [];
    private readonly Tensor _random;

    public UndisturbedState(nn.Module model)
    {
        using var noGrad = no_grad();
        _random = _copies.Own(random.get_rng_state());
        foreach (var (_, buffer) in model.named_buffers())
        {
            _buffers.Add((buffer, _copies.Own(buffer.clone())));
        }
    }

    /// <summary>The random numbers that come next are those that came next at the beginning.</summary>
    public void RewindRandom() => random.set_rng_state(_random);

    public void Dispose()
    {
        using var noGrad = no_grad();
        RewindRandom();
        foreach (var (buffer, copy) in _buffers)
        {
            buffer.copy_(copy);
        }

        _copies.Dispose();
    }
}
