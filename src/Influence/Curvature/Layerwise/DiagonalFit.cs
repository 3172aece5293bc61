using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
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
        var own = gradients.SumOfSquares();
        var squares = own.Select(s => s.to_type(ScalarType.Float64)).ToArray();
        if (_sums is null)
        {
            _dtype = own[0].dtype;
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

    public override void Exchange(FitState state, FitStage stage)
    {
        if (stage == FitStage.Eigenvalues)
        {
            return;
        }

        _dtype = state.Dtype;
        var sums = new List<Tensor>();
        while (true)
        {
            var sum = sums.Count < (_sums?.Length ?? 0) ? _sums![sums.Count] : null;
            state.Sum(FormattableString.Invariant($"squares.{sums.Count}"), ref sum);
            if (sum is null)
            {
                break;
            }

            sums.Add(sum);
        }

        _sums = [.. sums];
    }

    public override BlockCurvature Finish(string name, long examples)
    {
        using var scope = NewDisposeScope();
        return new DiagonalCurvature([.. _sums!.Select(s => (s / Kept(examples)).to_type(_dtype).DetachFromDisposeScope())])
        {
            Name = name,
        };
    }

    public override void Dispose()
    {
        foreach (var sum in _sums ?? [])
        {
            sum.Dispose();
        }
    }
}
