using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>The statistics of a convolution with groups: the factors of every group, and EK-FAC's eigenvalues.</summary>
internal sealed class GroupedFit(LayerwisePreconditioner.FactorKind factors, bool measured) : BlockFit<GroupedGradients>
{
    private Tensor? _a;
    private Tensor? _g;
    private Tensor? _inputVectors;
    private Tensor? _outputVectors;
    private Tensor? _eigenvalues;
    private double _rows;
    private ScalarType _dtype;
    private bool _finished;

    public override bool NeedsSecondPass => measured;

    protected override void AddOwn(GroupedGradients gradients)
    {
        using var scope = NewDisposeScope();
        var (a, d) = gradients.Factors(); // [B, g, T, n]
        _dtype = d.dtype;
        var (input, output, rows) = FactorSums.OfGroups(factors, a, d); // [g, n, n]
        _rows += rows;
        Accumulate(ref _a, input);
        Accumulate(ref _g, output);
    }

    public override bool IsFinite => new[] { _a, _g }.All(sum => sum is null || sum.isfinite().all().item<bool>());

    public override void Decompose()
    {
        using var scope = NewDisposeScope();
        var input = factors == LayerwisePreconditioner.FactorKind.Kfac ? _a! / Kept(Math.Max(_rows, 1)) : _a! / Traces(_a!);
        var (a, inputVectors) = linalg.eigh(input);
        var (g, outputVectors) = linalg.eigh(_g! / Kept(Math.Max(_rows, 1)));
        _inputVectors = inputVectors.to_type(_dtype).contiguous().DetachFromDisposeScope();
        _outputVectors = outputVectors.to_type(_dtype).contiguous().DetachFromDisposeScope();
        if (!measured)
        {
            // [g, O/g, I']
            _eigenvalues = (g.clamp_min(Kept(0)).unsqueeze(2) * a.clamp_min(Kept(0)).unsqueeze(1)).DetachFromDisposeScope();
        }

        // A group without gradients has zeros alone.
        static Tensor Traces(Tensor sums)
        {
            var traces = sums.diagonal(0, 1, 2).sum(1).reshape(-1, 1, 1); // [g, 1, 1]
            return traces + traces.eq(Kept(0)).to_type(traces.dtype);
        }
    }

    protected override void AddOwnEigenvalues(GroupedGradients gradients)
    {
        using var scope = NewDisposeScope();
        Accumulate(ref _eigenvalues, gradients.GroupedSpectrum(_inputVectors!, _outputVectors!).Squared().sum(0L));
    }

    public override void Exchange(FitState state, FitStage stage)
    {
        _dtype = state.Dtype;
        switch (stage)
        {
            case FitStage.Sums:
                state.Sum("input", ref _a);
                state.Sum("output", ref _g);
                state.Count("rows", ref _rows);
                break;
            case FitStage.Bases:
                state.Values("input.vectors", ref _inputVectors);
                state.Values("output.vectors", ref _outputVectors);
                if (!measured)
                {
                    state.Values("eigenvalues", ref _eigenvalues);
                }

                break;
            default:
                state.Sum("eigenvalues", ref _eigenvalues);
                break;
        }
    }

    public override BlockCurvature Finish(string name, long examples)
    {
        using var scope = NewDisposeScope();
        var overExamples = measured || factors == LayerwisePreconditioner.FactorKind.Shampoo;
        var eigenvalues = overExamples ? _eigenvalues! / Kept(examples) : _eigenvalues!;
        _finished = true;
        return new GroupedCurvature(_inputVectors!, _outputVectors!, eigenvalues.to_type(_dtype).clone().DetachFromDisposeScope())
        {
            Name = name,
        };
    }

    public override void Dispose()
    {
        _a?.Dispose();
        _g?.Dispose();
        _eigenvalues?.Dispose();
        if (!_finished)
        {
            _inputVectors?.Dispose();
            _outputVectors?.Dispose();
        }
    }

    private static void Accumulate(ref Tensor? sum, Tensor value)
    {
        if (sum is null)
        {
            sum = value.to_type(ScalarType.Float64).DetachFromDisposeScope();
        }
        else
        {
            sum.add_(value.to_type(ScalarType.Float64));
        }
    }
}
