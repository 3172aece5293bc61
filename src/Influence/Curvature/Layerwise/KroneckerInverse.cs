using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// P(G) = Q_G [ W * (Q_G' G Q_A) ] Q_A' with W = 1/(eigenvalues + damping), elementwise.
/// </summary>
/// <param name="input">Q_A.</param>
/// <param name="output">Q_G.</param>
/// <param name="weights">W, <c>[O, I']</c>; owned.</param>
/// <param name="damping">What was added to the eigenvalues.</param>
/// <param name="separable">Whether the eigenvalues are an outer product, so that W is numerically of low rank.</param>
internal sealed class KroneckerInverse(FactorBasis input, FactorBasis output, Tensor weights, double damping, bool separable) : BlockInverse
{
    /// <summary>Below so many multiply-adds a training example the exact product takes no longer than an approximation.</summary>
    private const double LeastWork = 1 << 23;

    private SpectralWeights? _spectral;
    private (PartProjection[] Given, PartProjection[] Turned)? _projections;
    private double _queryTolerance;

    public override void Plan(BlockGradients sample, ScorePlan plan, double tolerance)
    {
        if (sample.Shape is not { } factors)
        {
            return;
        }

        // With one position per example a rotation costs I^2 + O^2, against O I (O + I) for a written-out query.
        var approximate = tolerance > 0 && damping > 0;
        if (factors.Positions == 1)
        {
            var worthIt = damping > 0 && (double)plan.Queries * input.Size * output.Size > LeastWork;
            _spectral =
                worthIt && plan.Strongest ? SpectralWeights.Exact(weights, Eigenvalues().DetachFromDisposeScope())
                : worthIt && approximate ? Approximate(tolerance)
                : SpectralWeights.Exact(weights);
        }
        else if (approximate && plan.Passes > 1)
        {
            _queryTolerance = LowRankPays(sample, factors, plan, tolerance) ? tolerance : 0;
        }
    }

    public override BlockGradients Apply(BlockGradients gradients)
    {
        return _spectral is not null ? new SpectralGradients(Rotated(gradients), _spectral)
            : _queryTolerance > 0 && LowRankQuery(gradients) is { } lowRank ? lowRank
            : new DenseGradients(gradients.Examples, () => Dense(gradients)) { Size = (double)input.Size * output.Size };
    }

    public override BlockGradients Meet(BlockGradients gradients) => _spectral is null ? gradients : Rotated(gradients);

    public override Tensor[] Dense(BlockGradients gradients)
    {
        using var scope = NewDisposeScope();
        var bias = gradients.HasBias;
        var inputs = input.Size - (bias ? 1 : 0);
        var weight = empty([gradients.Examples, output.Size, inputs], weights.dtype, weights.device);
        var ofBias = bias ? empty([gradients.Examples, output.Size], weights.dtype, weights.device) : null;
        EachSpectrum(
            gradients,
            (start, spectrum) =>
            {
                var back = RotateBack(spectrum.mul_(weights)); // [b, O, I']
                weight.narrow(0, start, back.shape[0]).copy_(back.narrow(2, 0, inputs));
                ofBias?.narrow(0, start, back.shape[0]).copy_(back.select(2, inputs));
            }
        );
        var whole = weight.reshape(gradients.Examples, -1).MoveToOuterDisposeScope();
        return ofBias is null ? [whole] : [whole, ofBias.MoveToOuterDisposeScope()];
    }

    /// <summary>L' P(G) R = (Q_G' L)' [ W * (Q_G' G Q_A) ] (Q_A' R): the projection's sides are turned once, and no gradient is turned
    /// back.</summary>
    public override void AddProjected(Tensor rows, BlockGradients gradients, PartProjection[] projections)
    {
        var bias = gradients.HasBias;
        if (
            projections.Length != (bias ? 2 : 1)
            || projections.Any(projection => projection.GetType() != typeof(PartProjection))
            || (projections[0].Outputs, projections[0].Inputs) != (output.Size, input.Size - (bias ? 1 : 0))
        )
        {
            base.AddProjected(rows, gradients, projections);
            return;
        }

        if (_projections?.Given != projections)
        {
            ForgetProjections();
            _projections = (projections, Turned(projections));
        }

        EachSpectrum(
            gradients,
            (start, spectrum) =>
            {
                var weighted = spectrum.mul_(weights).flatten(1); // [b, O*I']
                foreach (var projection in _projections!.Value.Turned)
                {
                    projection.AddWritten(rows.narrow(0, start, weighted.shape[0]), weighted);
                }
            }
        );
    }

    public override Tensor SelfProducts(BlockGradients gradients) => Sum(gradients, weights);

    public override Tensor SquaredNorms(BlockGradients gradients)
    {
        using var squares = weights.Squared();
        return Sum(gradients, squares);
    }

    public override void Dispose()
    {
        weights.Dispose();
        ForgetProjections();
        _spectral?.Dispose();
    }

    private SpectralWeights Approximate(double tolerance)
    {
        using var scope = NewDisposeScope();
        var energy = Eigenvalues();
        return (separable ? SpectralWeights.InTerms(weights, energy, tolerance) : null)
            ?? SpectralWeights.Within(weights, energy, tolerance);
    }

    private Tensor Eigenvalues()
    {
        using var scope = NewDisposeScope();
        return (weights.reciprocal() - Kept(damping)).clamp_min_(Kept(0)).MoveToOuterDisposeScope();
    }

    /// <summary>The projections of the weight and of the bias, both of the whole spectrum.</summary>
    private PartProjection[] Turned(PartProjection[] projections)
    {
        using var scope = NewDisposeScope();
        var turned = new List<PartProjection>();
        for (var p = 0; p < projections.Length; p++)
        {
            // The weight has all columns but the bias's, the bias that one alone.
            var (given, all) = (projections[p], eye(input.Size, dtype: weights.dtype, device: weights.device));
            var columns = all.narrow(1, p == 0 ? 0 : input.Size - 1, given.Inputs); // [I', I] or [I', 1]
            var right = given.Right is null ? columns : columns.mm(given.Right);
            var left = given.Left ?? eye(output.Size, dtype: weights.dtype, device: weights.device);
            turned.Add(new PartProjection(output.Size, input.Size, given.First, Side(output, left), Side(input, right)));
        }

        return [.. turned];

        static Tensor Side(FactorBasis basis, Tensor side) => basis.Rotate(side.t().contiguous()).t().contiguous().DetachFromDisposeScope();
    }

    private void ForgetProjections()
    {
        foreach (var projection in _projections?.Turned ?? [])
        {
            projection.Left?.Dispose();
            projection.Right?.Dispose();
        }

        _projections = null;
    }

    /// <summary>sum over o, i of F[o, i] (Q_G' G Q_A)[o, i]^2; for one position two squares and one matrix product.</summary>
    private Tensor Sum(BlockGradients gradients, Tensor terms)
    {
        using var scope = NewDisposeScope();
        if (gradients.Shape is { Positions: 1 })
        {
            var rotated = Rotated(gradients);
            var a = rotated.Activation.squeeze(1).Squared(); // [B, I']
            var d = rotated.OutputGradient.squeeze(1).Squared(); // [B, O]
            return d.mm(terms).mul_(a).sum(1).MoveToOuterDisposeScope();
        }

        var sums = zeros([gradients.Examples], terms.dtype, terms.device);
        EachSpectrum(
            gradients,
            (start, spectrum) => sums.narrow(0, start, spectrum.shape[0]).copy_(spectrum.mul_(spectrum).mul_(terms).sum(1, 2))
        );
        return sums.MoveToOuterDisposeScope();
    }

    /// <summary>Compares by counted operations, with the rank that a few queries need.</summary>
    private bool LowRankPays(BlockGradients sample, FactorShape shape, ScorePlan plan, double tolerance)
    {
        using var scope = NewDisposeScope();
        if (LowRankQueries.Of(WeightedSpectrum(sample), weights, tolerance) is not { } factors)
        {
            return false;
        }

        var (t, i, o, _) = shape;
        var written = Math.Min(ContractionCost.Dense(plan.Queries, t, i, o), ContractionCost.Factored(plan.Queries, t, i, o));
        var again = (plan.Passes - 1) * 2.0 * t * i * o;
        return ContractionCost.Ghost(plan.Queries, factors.V.shape[1], t, i, o) < written + again;
    }

    /// <summary>One position per term, back in the layer's own basis: U V with U <c>[Q, R, O]</c> and V <c>[Q, R, I']</c>.</summary>
    private FactoredGradients? LowRankQuery(BlockGradients gradients)
    {
        using var scope = NewDisposeScope();
        if (LowRankQueries.Of(WeightedSpectrum(gradients), weights, _queryTolerance) is not { } factors)
        {
            return null;
        }

        var v = input.RotateBack(factors.V).MoveToOuterDisposeScope();
        var u = output.RotateBack(factors.U.transpose(1, 2)).MoveToOuterDisposeScope();
        return new FactoredGradients(v.alias, u, v.shape[2], weight: true, bias: false) { BiasColumn = gradients.HasBias };
    }

    /// <summary>The factors in the eigenbasis, the bias as one more input.</summary>
    private FactoredGradients Rotated(BlockGradients gradients)
    {
        var factors = (FactoredGradients)gradients;
        var d = output.Rotate(factors.OutputGradient); // [B, T, O]
        return new FactoredGradients(() => RotatedActivation(factors), d, input.Size, weight: true, bias: false);
    }

    private Tensor RotatedActivation(FactoredGradients factors)
    {
        using var scope = NewDisposeScope();
        return input.Rotate(factors.Bias ? factors.ActivationWithBias() : factors.Activation).MoveToOuterDisposeScope();
    }

    private Tensor WeightedSpectrum(BlockGradients gradients) => Spectrum(gradients).mul_(weights);

    private Tensor Spectrum(BlockGradients gradients) =>
        gradients is FactoredGradients factors
            ? KroneckerSpectrum.Of(factors, input, output)
            : KroneckerSpectrum.Of(gradients.Dense(), input, output);

    /// <summary>The first example's position and its spectrum with those of the next, <c>[b, O, I']</c>, for some at a time: small pieces'
    /// memory is used again.</summary>
    private void EachSpectrum(BlockGradients gradients, Action<long, Tensor> visit)
    {
        if (gradients is FactoredGradients factors)
        {
            KroneckerSpectrum.Visit(factors, input, output, KroneckerFit.NumbersAtOnce, visit);
        }
        else
        {
            visit(0, KroneckerSpectrum.Of(gradients.Dense(), input, output));
        }
    }

    private Tensor RotateBack(Tensor spectrum)
    {
        var right = input.RotateBack(spectrum); // [B, O, I']
        return output.RotateBack(right.transpose(1, 2)).transpose(1, 2);
    }
}
