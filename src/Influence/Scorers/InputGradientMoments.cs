using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Scorers;

/// <summary>
/// The running mean and sum of squared deviations of one batch's input gradients over checkpoints (Welford), in float64 on the CPU.
/// Owns its tensors.
/// </summary>
internal sealed class InputGradientMoments : IDisposable
{
    private Tensor? _mean;
    private Tensor? _squares;
    private Tensor? _counts;
    private int _seen;

    /// <summary>Takes in one checkpoint's gradients.</summary>
    /// <param name="values"><c>[B, ...]</c>.</param>
    /// <param name="counts">Which of them count, of the same shape; null for all.</param>
    public void Add(Tensor values, Tensor? counts)
    {
        using var scope = NewDisposeScope();
        var x = values.detach().cpu().to_type(ScalarType.Float64).flatten(1); // [B, M]
        _seen++;
        if (_mean is null || _squares is null)
        {
            _mean = x.clone().DetachFromDisposeScope();
            _squares = zeros_like(x).DetachFromDisposeScope();
            _counts = counts?.detach().cpu().flatten(1).DetachFromDisposeScope();
            return;
        }

        if (!x.shape.AsSpan().SequenceEqual(_mean.shape))
        {
            throw new InfluenceException(
                $"The same batch had inputs of [{string.Join(", ", _mean.shape)}] under one checkpoint and of "
                    + $"[{string.Join(", ", x.shape)}] under another. Give examples that are the same at every pass."
            );
        }

        var before = x - _mean; // [B, M]
        _mean.add_(before / Kept(_seen));
        _squares.add_(before * (x - _mean));
    }

    /// <summary>The population standard deviation over checkpoints, averaged over what counts, example by example.</summary>
    public double[] MeanDeviation()
    {
        using var scope = NewDisposeScope();
        var deviation = (_squares! / Kept(_seen)).clamp_min(Kept(0)).sqrt(); // [B, M]
        var mean = _counts is null ? deviation.mean([1]) : (deviation * _counts).sum(1) / _counts.sum(1).clamp_min(Kept(1)); // [B]
        return mean.data<double>().ToArray();
    }

    public void Dispose()
    {
        _mean?.Dispose();
        _squares?.Dispose();
        _counts?.Dispose();
    }
}
