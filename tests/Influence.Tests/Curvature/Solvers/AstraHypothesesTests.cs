using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>
/// What could keep ASTRA's scores below those of the inverse that it begins with, tested one by one: dampings that are not the same, a loss
/// that is saturated, and a stop at the wrong step. Scales and symmetry are the solvers' own tests.
/// </summary>
public sealed class AstraHypothesesTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    /// <summary>
    /// One relative damping is the same number in the inner inverse and in the system, layer by layer: conjugate gradients over EK-FAC end
    /// at the dense inverse with EK-FAC's own dampings on the diagonal, and at a strong damping both are 1 / damping.
    /// </summary>
    [Fact]
    public void DampingsAreThoseOfTheInnerInverse()
    {
        using var c = new Classifier();
        using var ekfac = Ekfac.Fit(c.Task(), c.Train, new Ekfac.Options { LabelDraws = 8 });
        var damping = Damping.RelativeToMeanEigenvalue(0.3);
        using var astra = Astra.Fit(
            c.Task(),
            c.Train,
            ekfac,
            new()
            {
                Iteration = Astra.Kind.ConjugateGradient,
                Tolerance = 1e-11,
                Iterations = 400,
            }
        );
        using var scores = new InfluenceFunction(astra) { Damping = damping, Tolerance = 0 }.Score(c.Task(), c.Train, c.Queries);

        // J' B J of the mean loss, row by row; parameters as the model names them, each layer's weight and bias one after the other.
        var parameters = c.Model.named_parameters().ToArray();
        var logits = c.Model.call(c.X);
        var rows = new List<Tensor>();
        for (long i = 0; i < 11; i++)
        {
            for (long k = 0; k < Classifier.Classes; k++)
            {
                var gradients = autograd.grad([logits[i, k]], [.. parameters.Select(p => (Tensor)p.parameter)], retain_graph: true);
                rows.Add(cat([.. gradients.Select(g => g.reshape(-1))], 0));
            }
        }

        var j = stack([.. rows], 0).reshape(11, Classifier.Classes, -1);
        var p = logits.detach().softmax(1);
        var h = einsum("ncp,ncd,ndq->pq", j, diag_embed(p) - (p.unsqueeze(2) * p.unsqueeze(1)), j) / 11;
        var each = cat(
            [
                .. parameters.Select(own =>
                    full(
                        [own.parameter.numel()],
                        0.3 * ekfac.MeanEigenvalues.Single(m => m.Parameters.Split(", ").Contains(own.name)).MeanEigenvalue,
                        dtype: float64
                    )
                ),
            ],
            0
        );
        var inverse = linalg.inv(h + diag(each));
        var expected = c.QueryGradients().mm(inverse).mm(c.TrainGradients().t());

        // To the tolerance times a condition number of about a hundred.
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-8);

        var strong = Damping.RelativeToMeanEigenvalue(1e6);
        using var walked = Astra.Fit(c.Task(), c.Train, ekfac, new() { Iterations = 20 });
        using var before = new InfluenceFunction(ekfac) { Damping = strong, Tolerance = 0 }.Score(c.Task(), c.Train, c.Queries);
        using var after = new InfluenceFunction(walked) { Damping = strong }.Score(c.Task(), c.Train, c.Queries);

        // Curvature over damping, a few times 1e-6 for the largest eigenvalue.
        Assert.True(SingleExampleLoop.RelativeError(after.Values, before.Values) < 1e-4);
    }

    /// <summary>
    /// A loss log(1 + exp(-m)) has the gradient -(1 - p) times that of its margin m, and every iteration is linear in the gradient that it
    /// solves for: the scores of the loss are those of the margin times 1 - p, query by query, also where p is one but for a millionth and
    /// the numbers have seven digits. The target cannot be what changes the order of scores.
    /// </summary>
    [Theory]
    [InlineData(ScalarType.Float64, 1.0, 1e-9)]
    [InlineData(ScalarType.Float32, 12.0, 2e-3)]
    public void TheMarginHasTheScoresOfTheLoss(ScalarType dtype, double scale, double tolerance)
    {
        using var c = new Classifier(dtype: dtype);
        using (no_grad())
        {
            c.Head.weight.mul_(scale);
        }

        // Each query has the label that the model gives it.
        var queries = Examples.FromTensors(("x", c.QueryX), ("y", c.Model.call(c.QueryX).argmax(1)));
        using var ekfac = Ekfac.Fit(c.Task(), c.Train, new Ekfac.Options { LabelDraws = 8 });
        using var astra = Astra.Fit(c.Task(), c.Train, ekfac, new() { Iterations = 25, BatchSize = 6 });
        using var ofLoss = new InfluenceFunction(astra).Score(c.Task(), c.Train, queries);
        using var ofMargin = new InfluenceFunction(astra).Score(c.Task() with { Measurement = Margin }, c.Train, queries);
        var z = c.Model.call(c.QueryX).to_type(float64);
        var others = z.scatter(1, z.argmax(1, keepdim: true), full([4, 1], double.NegativeInfinity, dtype: float64));
        var rest = (others.logsumexp(1) - z.logsumexp(1)).exp(); // 1 - p
        var ratio = (ofLoss.Values.to_type(float64) / rest.unsqueeze(1)).detach();
        for (var q = 0; q < 4; q++)
        {
            Assert.True(SingleExampleLoop.RelativeError(ratio[q], ofMargin.Values[q].to_type(float64)) < tolerance);
        }

        Tensor Margin(ExampleBatch b)
        {
            var own = c.Model.call(b["x"]);
            var label = b["y"].unsqueeze(1);
            return own.scatter(1, label, full_like(label, double.NegativeInfinity, own.dtype)).logsumexp(1)
                - own.gather(1, label).squeeze(1);
        }
    }

    /// <summary>
    /// On all examples each further step ends nearer: a run that stops early lies between the inverse that it began with and the exact one,
    /// and no number of steps takes it past.
    /// </summary>
    [Fact]
    public void MoreStepsEndNearer()
    {
        using var c = new Classifier();
        using var dense = DenseCurvature.Fit(c.Task(), c.Train);
        var damping = Damping.Absolute(0.02 * dense.Eigenvalues[^1]);
        using var exact = new InfluenceFunction(dense) { Damping = damping }.Score(c.Task(), c.Train, c.Queries);
        using var ekfac = Ekfac.Fit(c.Task(), c.Train, new Ekfac.Options { LabelDraws = 2 });
        var errors = new List<double> { Error(ekfac) };
        foreach (var steps in new[] { 10, 40, 160, 640 })
        {
            using var astra = Astra.Fit(
                c.Task(),
                c.Train,
                ekfac,
                new()
                {
                    Iterations = steps,
                    HalveEvery = 1000,
                    BatchSize = 11,
                }
            );
            errors.Add(Error(astra));
        }

        Assert.True(errors.Zip(errors.Skip(1)).All(e => e.Second < e.First), string.Join(", ", errors));
        Assert.True(errors[^1] < 1e-3 * errors[0], string.Join(", ", errors));

        double Error(Preconditioner preconditioner)
        {
            using var scores = new InfluenceFunction(preconditioner) { Damping = damping, Tolerance = 0 }.Score(
                c.Task(),
                c.Train,
                c.Queries
            );
            return SingleExampleLoop.RelativeError(scores.Values, exact.Values);
        }
    }
}
