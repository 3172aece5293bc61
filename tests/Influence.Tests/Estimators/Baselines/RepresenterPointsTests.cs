using Influence.Estimators;
using Influence.Tests.Contracts;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Representer points against a refit of the last layer by Newton's method.</summary>
public class RepresenterPointsTests
{
    [Theory]
    [InlineData(0.003)]
    [InlineData(0.05)]
    public void ScoresSumToTheRefittedLogit(double l2)
    {
        using var c = new Classifier(train: 30);
        var method = new RepresenterPoints(b => c.Hidden.call(b["x"]).tanh(), b => 3 * c.Model.call(b["x"])) { L2 = l2, Tolerance = 1e-10 };
        using var scores = method.Score(c.Task(), c.Train with { BatchSize = 7 }, c.Queries);
        using var labelled = (method with { QueryClass = b => b["y"] }).Score(c.Task(), c.Train, c.Queries);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var a = c.Hidden.call(c.X).tanh();
        var p = (3 * c.Model.call(c.X)).softmax(1);
        var weights = Newton(a, p, l2);
        var queries = c.Hidden.call(c.QueryX).tanh();
        var logits = queries.matmul(weights.t());
        var predicted = c.Model.call(c.QueryX).argmax(1);
        var alphas = (p - a.matmul(weights.t()).softmax(1)) / (2 * l2 * 30);
        for (var q = 0; q < 4; q++)
        {
            Assert.Equal(logits[q, predicted[q].item<long>()].item<double>(), scores.ForQuery(q).Values.Sum(), 1e-7);
            Assert.Equal(logits[q, c.QueryY[q].item<long>()].item<double>(), labelled.ForQuery(q).Values.Sum(), 1e-7);
            for (var i = 0; i < 30; i++)
            {
                var expected = alphas[i, predicted[q].item<long>()].item<double>() * a[i].dot(queries[q]).item<double>();
                Assert.Equal(expected, scores[q, i], 1e-7);
            }
        }
    }

    [Fact]
    public void BadInput()
    {
        using var c = new Classifier();
        var method = new RepresenterPoints(b => b["x"], b => c.Model.call(b["x"]));
        Assert.Contains("did not converge", Message(method with { MaximumIterations = 1 }), StringComparison.Ordinal);
        Assert.Contains("Classes of queries are 0 to 2", Message(method with { QueryClass = b => b["y"] + 3 }), StringComparison.Ordinal);
        Assert.Contains("Logits", Message(new RepresenterPoints(b => b["x"], b => b["y"])), StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new RepresenterPoints(b => b["x"], b => b["x"]) { L2 = 0 });

        string Message(RepresenterPoints wrong) =>
            Assert.Throws<InfluenceException>(() => wrong.Score(c.Task(), c.Train, c.Queries)).Message;
    }

    /// <summary>The minimum by Newton steps with the Hessian written out.</summary>
    private static Tensor Newton(Tensor a, Tensor p, double l2)
    {
        var (n, d, classes) = (a.shape[0], a.shape[1], p.shape[1]);
        var weights = zeros([classes, d], ScalarType.Float64);
        for (var step = 0; step < 50; step++)
        {
            var u = a.matmul(weights.t()).softmax(1);
            var gradient = ((u - p).t().matmul(a) / n) + (2 * l2 * weights);
            var hessian = 2 * l2 * eye(classes * d, dtype: ScalarType.Float64);
            for (var i = 0; i < n; i++)
            {
                hessian += kron((diag(u[i]) - u[i].outer(u[i])).contiguous(), a[i].outer(a[i])) / n;
            }

            weights -= linalg.solve(hessian, gradient.reshape(-1, 1)).reshape(classes, d);
        }

        return weights;
    }
}

public sealed class RepresenterPointsContract : PairEstimatorContract
{
    internal override IPairEstimator Estimator() =>
        new RepresenterPoints(b => C.Hidden.call(b["x"]).tanh(), b => C.Model.call(b["x"])) { L2 = 0.01 };
}
