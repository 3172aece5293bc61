using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>The mean squared gradient of every element.</summary>
internal sealed class DiagonalFit : BlockFit
{
    private Tensor[]? _sums;
    private ScalarType _dtype;

    public override void Add(BlockGradients gradients)
    {
        using var scope = NewDisposeScope();
        var squares = Squares(gradients).Select(s => s.to_type(ScalarType.Float64)).ToArray();
        if (_sums is null)
        {
            _dtype = gradients is FactoredGradients f ? f.OutputGradient.dtype : gradients.Dense()[0].dtype;
            _sums = [.. squares.Select(s => s.DetachFromDisposeScope())];
        }
        else
        {
            for (var k = 0; k < squares.Length; k++)
            {
                _sums[k].add_(squares[k]);
            }
        }

        gradients.Release();
    }

    public override BlockCurvature Finish(string name, long examples)
    {
        using var scope = NewDisposeScope();
        return new DiagonalCurvature([.. _sums!.Select(s => (s / examples).to_type(_dtype).DetachFromDisposeScope())]) { Name = name };
    }

    public override void Dispose()
    {
        foreach (var sum in _sums ?? [])
        {
            sum.Dispose();
        }
    }

    /// <summary>Squares summed over the batch, one part a parameter; for one position per example without writing any gradient out.</summary>
    private static Tensor[] Squares(BlockGradients gradients)
    {
        if (gradients is FactoredGradients { Weight: true, Positions: 1 } f)
        {
            var d = f.OutputGradient.squeeze(1).square();                               // [B, O]
            var weight = d.t().mm(f.Activation.squeeze(1).square()).reshape(-1);        // [O*I]
            return f.Bias ? [weight, d.sum(0L)] : [weight];
        }

        return [.. gradients.Dense().Select(part => part.square().sum(0L))];
    }
}
