using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Block conjugate gradients and the dampings that differ by weight, against dense solves in float64.</summary>
public sealed class BlockConjugateGradientTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
        _scope.Dispose();
    }

    /// <summary>Rounding times the condition number. A row that the others span, and one of zeros, must not break it down.</summary>
    [Fact]
    public void DependentAndEmptyRowsAreSolvedToo()
    {
        random.manual_seed(4);
        var root = randn([30, 30], dtype: float64);
        var a = root.mm(root.t()) + (eye(30, dtype: float64) * 0.5);
        var b = randn([6, 30], dtype: float64);
        b[4] = b[0] - (b[1] * 1e-6);
        b[5] = zeros([30], dtype: float64);
        var (x, iterations, residuals) = new BlockIteration(v => v.mm(a), r => r / a.diag(), 1e-11, 100).Solve(b);
        Assert.True(SingleExampleLoop.RelativeError(x, linalg.solve(a, b.t()).t()) < 1e-9);
        Assert.True(residuals.Max() < 1e-10);

        // Four directions at a time span 30 dimensions in eight steps; one at a time takes more than twenty.
        Assert.True(iterations <= 14, $"{iterations} iterations");
    }

    /// <summary>The matrix of products with unit vectors, the damping on its diagonal layer by layer, one solve.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ScoresAreThoseOfADenseSolve(bool relative)
    {
        using var ekfac = Ekfac.Fit(_c.Task(), _c.Train);
        var damping = relative ? Damping.RelativeToMeanEigenvalue(0.3) : Damping.Absolute(0.02);
        double[] of = relative ? [.. ekfac.MeanEigenvalues.Select(m => 0.3 * m.MeanEigenvalue)] : [0.02, 0.02];
        using var solver = BlockConjugateGradient.Fit(_c.Task(), _c.Train, ekfac, new() { Tolerance = 1e-11, MaximumIterations = 100 });
        using var scores = new InfluenceFunction(solver) { Damping = damping }.Score(_c.Task(), _c.Train, _c.Queries);
        AssertDense(cat([full([30], of[0], float64), full([21], of[1], float64)]), scores);
        Assert.DoesNotContain("above the tolerance", scores.Metadata.Curvature, StringComparison.Ordinal);
    }

    /// <summary>AdamW's decay weight by weight: decay (sqrt(v) + eps) from the optimizer's own state.</summary>
    [Fact]
    public void TheOptimizersDecayIsADampingOfEachWeight()
    {
        var (checkpoint, each) = Trained();
        using var ekfac = Ekfac.Fit(_c.Task(), _c.Train);
        using var solver = BlockConjugateGradient.Fit(_c.Task(), _c.Train, ekfac, new() { Tolerance = 1e-11, MaximumIterations = 200 });
        using var scores = new InfluenceFunction(solver) { Damping = Damping.OfOptimizer(checkpoint) }.Score(
            _c.Task(),
            _c.Train,
            _c.Queries
        );
        AssertDense(each, scores);
    }

    /// <summary>EK-FAC takes each layer's mean of it, and a factor of the mean eigenvalue beside; rounding only.</summary>
    [Fact]
    public void EkfacTakesTheMeanOfTheOptimizersDecay()
    {
        var (checkpoint, each) = Trained();
        using var ekfac = Ekfac.Fit(_c.Task(), _c.Train);
        double[] means = [each.narrow(0, 0, 30).mean().item<double>(), each.narrow(0, 30, 21).mean().item<double>()];
        var expected = zeros([4, 11], dtype: float64);
        for (var layer = 0; layer < 2; layer++)
        {
            var damping = Damping.Absolute(means[layer] + (0.1 * ekfac.MeanEigenvalues[layer].MeanEigenvalue));
            using var own = new InfluenceFunction(ekfac) { Damping = damping, Tolerance = 0 }.ScoreLayers(_c.Task(), _c.Train, _c.Queries);
            expected.add_(own[layer].Scores.Values);
        }

        var function = new InfluenceFunction(ekfac) { Damping = Damping.OfOptimizer(checkpoint, 0.1), Tolerance = 0 };
        using var scores = function.Score(_c.Task(), _c.Train, _c.Queries);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-10);
        Assert.Contains("weight decay of AdamW, step 4", scores.Metadata.Damping, StringComparison.Ordinal);
        Assert.Contains("its weight decay is in the damping", scores.Metadata.Notes, StringComparison.Ordinal);

        using var plain = new InfluenceFunction(ekfac) { Checkpoint = checkpoint }.Score(_c.Task(), _c.Train, _c.Queries);
        Assert.Contains("made by AdamW", plain.Metadata.Checkpoints, StringComparison.Ordinal);
        Assert.Contains("Damping.OfOptimizer", plain.Metadata.Notes, StringComparison.Ordinal);

        // A checkpoint of several files with an index is compared with the model like any other.
        var sharded = Checkpoint.SaveSharded(_folder.Path("model.safetensors.index.json"), _c.Model, 0.1, shardBytes: 200);
        using var same = new InfluenceFunction(ekfac) { Checkpoint = sharded }.Score(_c.Task(), _c.Train, _c.Queries);
        Assert.True(same.Values.equal(plain.Values).all().item<bool>());
        using (no_grad())
        {
            _c.Head.bias!.add_(1);
        }

        using var other = Ekfac.Fit(_c.Task(), _c.Train);
        Assert.Contains(
            "head.bias",
            Assert
                .Throws<InfluenceException>(() =>
                    new InfluenceFunction(other) { Checkpoint = checkpoint }.Score(_c.Task(), _c.Train, _c.Queries)
                )
                .Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => Ekfac.Fit(_c.Task(), _c.Train, new() { Damping = Damping.OfOptimizer(checkpoint) }));
        using var cg = ConjugateGradient.Fit(_c.Task(), _c.Train);
        Assert.Contains(
            "differs from weight to weight",
            Assert
                .Throws<InfluenceException>(() =>
                    new InfluenceFunction(cg) { Damping = Damping.OfOptimizer(checkpoint) }.Score(_c.Task(), _c.Train, _c.Queries)
                )
                .Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => Damping.OfOptimizer(Checkpoint.Save(_folder.Path("plain"), _c.Model, 0.1)));
    }

    /// <summary>The mean of the Gauss-Newton matrix and EK-FAC's, each written out.</summary>
    [Fact]
    public void HalfOfTheMatrixIsEkfacs()
    {
        var (q, g) = (_c.QueryGradients(), _c.TrainGradients());
        using var ekfac = Ekfac.Fit(_c.Task(), _c.Train);
        using var none = NoCurvature.Fit(_c.Task(), _c.Train);
        Assert.Throws<InfluenceException>(() => BlockConjugateGradient.Fit(_c.Task(), _c.Train, none, new() { Shrinkage = 0.5 }));
        using var solver = BlockConjugateGradient.Fit(
            _c.Task(),
            _c.Train,
            ekfac,
            new()
            {
                Tolerance = 1e-11,
                MaximumIterations = 100,
                Shrinkage = 0.5,
            }
        );
        using var scores = new InfluenceFunction(solver) { Damping = Damping.Absolute(0.02) }.Score(_c.Task(), _c.Train, _c.Queries);
        using var session = GradientSession.Open(_c.Task(), _c.Train, null);
        var layout = new ParameterVector(session);
        var units = eye(51, dtype: float64);
        using var inverse = ekfac.Prepare(session, Damping.Absolute(0.02), 0, default);
        var damped = linalg.inv(new InnerInverse(inverse, layout, 0).Apply(units));
        var h = ((new GaussNewtonProduct(session, layout).Over(_c.Train, units, default) + (units * 0.02)) + damped) * 0.5;
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, q.mm(linalg.solve(h, g.t()))) < 1e-8);
        Assert.Contains("EK-FAC", scores.Metadata.Curvature, StringComparison.Ordinal);
    }

    [Fact]
    public void ADrawOfExamplesIsNamedAndTheSameForASeed()
    {
        using var ekfac = Ekfac.Fit(_c.Task(), _c.Train);
        using var first = Drawn(1);
        using var again = Drawn(1);
        using var other = Drawn(2);
        Assert.True(first.Values.equal(again.Values).all().item<bool>());
        Assert.False(first.Values.equal(other.Values).all().item<bool>());
        Assert.Contains("over 6 examples", first.Metadata.Curvature, StringComparison.Ordinal);
        Assert.Equal(1 / 11.0, first.Metadata.LeaveOneOutFactor!.Value, 12);

        InfluenceScores Drawn(long seed)
        {
            using var solver = BlockConjugateGradient.Fit(_c.Task(), _c.Train, ekfac, new() { Examples = 6, Seed = seed });
            return new InfluenceFunction(solver).Score(_c.Task(), _c.Train, _c.Queries);
        }
    }

    private void AssertDense(Tensor damping, InfluenceScores scores)
    {
        var (q, g) = (_c.QueryGradients(), _c.TrainGradients());
        using var session = GradientSession.Open(_c.Task(), _c.Train, null);
        var layout = new ParameterVector(session);
        var h = new GaussNewtonProduct(session, layout).Over(_c.Train, eye(layout.Length, dtype: float64), default) + diag(damping);
        var expected = q.mm(linalg.solve(h, g.t()));
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-8);
    }

    /// <summary>Four steps of AdamW; the decay is 0.1 in the hidden layer's weight and bias, and in the head's.</summary>
    private (Checkpoint Checkpoint, Tensor Each) Trained()
    {
        using var optimizer = optim.AdamW(_c.Model.parameters(), 0.02, 0.8, 0.95, 1e-6, 0.1);
        for (var step = 0; step < 4; step++)
        {
            optimizer.zero_grad();
            nn.functional.cross_entropy(_c.Model.call(_c.X), _c.Y).backward();
            optimizer.step();
        }

        var states = ((TorchSharp.Modules.OptimizerHelper)optimizer).state_dict().State.Cast<TorchSharp.Modules.AdamW.State>();
        var each = cat([.. states.Select(s => (((s.exp_avg_sq / (1 - Math.Pow(0.95, 4))).sqrt() + 1e-6) * 0.1).reshape(-1))]);
        return (Checkpoint.Save(_folder.Path("adamw"), _c.Model, optimizer, 4), each);
    }
}
