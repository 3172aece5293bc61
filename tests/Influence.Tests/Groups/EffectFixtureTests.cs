using Influence.Curvature;
using Influence.Estimators;
using Influence.Groups;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Groups;

/// <summary>Effects of groups where the truth has a closed form.</summary>
public class EffectFixtureTests
{
    /// <summary>
    /// l_i = h_i / 2 (w - a_i)^2 with h = (1, 1, 2) and a = (0, 1, 3), at its optimum 1.75. Without the last example it moves by -1.25;
    /// over N -0.625, first order -0.9375, second -1.171875, Newton exactly. The measurement is w itself.
    /// </summary>
    [Fact]
    public void AScalar()
    {
        using var scope = NewDisposeScope();
        var (task, train, queries) = Scalar();
        var groups = ExampleGroups.FromMembers(("last", [2]));
        using var dense = DenseCurvature.Fit(task, train, new() { Matrix = CurvatureMatrix.Hessian, Damping = Damping.Absolute(0) });

        var naive = new GroupInfluence(new InfluenceFunction(dense)).Score(task, train, groups, queries);
        Assert.Equal(-0.625, naive.Sum(0, 0) * naive.Metadata.LeaveOneOutFactor!.Value, 1e-12);

        var effects = new GroupEffect(dense) { Order = GroupEffect.Expansion.Newton }.Predict(task, train, groups, queries);
        Assert.Equal(-0.9375, effects.Linear(0, 0, GroupEffect.Expansion.First), 1e-12);
        Assert.Equal(-1.171875, effects.Linear(0, 0, GroupEffect.Expansion.Second), 1e-12);
        Assert.Equal(-1.25, effects.Linear(0, 0, GroupEffect.Expansion.Newton), 1e-12);
        Assert.Equal(-1.25, effects.Predicted(0, 0), 1e-12);

        // Halved: (0 + 1 + 3) / 3 - 7/4. Doubled: (0 + 1 + 12) / 6 - 7/4. Unchanged: nothing moves.
        foreach (var (weight, exact) in new[] { (0.5, (4 / 3.0) - 1.75), (2, (13 / 6.0) - 1.75), (1.0, 0.0) })
        {
            effects = new GroupEffect(dense) { Order = GroupEffect.Expansion.Newton }.Predict(task, train, groups, queries, weight: weight);
            Assert.Equal(exact, effects.Predicted(0, 0), 1e-12);
        }
    }

    /// <summary>
    /// Least squares with 30 examples, of which six are removed, halved, doubled or counted threefold: Newton is exact, the second order
    /// closer than the first, and the first closer than the sum of scores over N.
    /// </summary>
    [Theory]
    [InlineData(0)]
    [InlineData(0.5)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomLeastSquares(double weight)
    {
        var (errors, naive) = (new double[3], 0.0);
        for (var seed = 1; seed <= 5; seed++)
        {
            using var scope = NewDisposeScope();
            random.manual_seed(seed);
            var (x, y) = (randn([30, 3], dtype: float64), randn([30, 1], dtype: float64));
            var model = nn.Linear(3, 1, hasBias: false, dtype: float64);
            model.eval();
            var weights = ones([30, 1], dtype: float64);
            Fit(model, x, y, weights);
            var before = model.weight.detach().clone();
            var task = new InfluenceTask(model)
            {
                TrainingLoss = b => 0.5 * Losses.SquaredError(model.call(b["x"]), b["y"]),
                Measurement = b => model.call(b["x"]).squeeze(1),
            };
            var train = Examples.FromTensors(("x", x), ("y", y)) with { BatchSize = 7 };
            var queries = Examples.FromTensors(("x", eye(3, dtype: float64)), ("y", zeros([3, 1], dtype: float64)));
            var groups = ExampleGroups.FromMembers(("six", [1, 2, 5, 11, 20, 29]), ("two", [3, 4]));
            foreach (var matrix in Enum.GetValues<CurvatureMatrix>())
            {
                using var dense = DenseCurvature.Fit(task, train, new() { Matrix = matrix, Damping = Damping.Absolute(0) });
                var effects = new GroupEffect(dense)
                {
                    Order = GroupEffect.Expansion.Newton,
                    MemoryBudget = seed == 1 ? 1 : 1L << 30,
                }.Predict(task, train, groups, queries, weight: weight);
                weights.fill_(1);
                foreach (var id in groups["six"])
                {
                    weights[id] = weight;
                }

                Fit(model, x, y, weights);
                var truth = (model.weight.detach() - before).reshape(-1).data<double>().ToArray();
                using (no_grad())
                {
                    model.weight.copy_(before);
                }

                var overAll = (30 + ((weight - 1) * 6)) / 30;
                naive += Math.Sqrt(
                    Enumerable.Range(0, 3).Sum(q => Math.Pow((effects.Linear(q, 0, GroupEffect.Expansion.First) * overAll) - truth[q], 2))
                );
                foreach (var order in Enum.GetValues<GroupEffect.Expansion>())
                {
                    var error = Math.Sqrt(Enumerable.Range(0, 3).Sum(q => Math.Pow(effects.Linear(q, 0, order) - truth[q], 2)));
                    errors[(int)order] += error;
                    Assert.Equal(effects.Linear(1, 0, order), effects.Moved(1, 0, order), 1e-12);
                    Assert.True(order != GroupEffect.Expansion.Newton || error < 1e-10, $"Newton is off by {error}");
                }
            }
        }

        // Sums over five draws and both matrices: the second order leaves less than half of the first order's error.
        Assert.True(errors[1] < 0.5 * errors[0] && errors[0] < 0.9 * naive, $"second {errors[1]}, first {errors[0]}, over N {naive}");
    }

    /// <summary>The second order with conjugate gradients, and with a damping, is that with the dense matrix.</summary>
    [Fact]
    public void SolversAgree()
    {
        using var scope = NewDisposeScope();
        var (task, train, queries) = Scalar();
        var groups = ExampleGroups.FromMembers(("last", [2]), ("first", [0, 1]));
        var damping = Damping.Absolute(0.3);
        using var dense = DenseCurvature.Fit(task, train, new() { Matrix = CurvatureMatrix.Hessian, Damping = damping });
        using var solver = ConjugateGradient.Fit(
            task,
            train,
            new()
            {
                Matrix = CurvatureMatrix.Hessian,
                Damping = damping,
                Tolerance = 1e-12,
            }
        );
        var (expected, found) = (
            new GroupEffect(dense).Predict(task, train, groups, queries),
            new GroupEffect(solver).Predict(task, train, groups, queries)
        );
        Assert.Equal([GroupEffect.Expansion.First, GroupEffect.Expansion.Second], found.Orders);
        foreach (var order in found.Orders)
        {
            Assert.Equal(expected.Linear(0, 0, order), found.Linear(0, 0, order), 1e-10);
            Assert.Equal(expected.Linear(0, 1, order), found.Linear(0, 1, order), 1e-10);
        }

        // By hand for removal of the last: H = 4/3, H_group = 2, P = 1/(4/3 + 0.3), d1 = -2.5 P / 2, d2 = d1 - 1/2 P (4/3 - 2) d1.
        var p = 1 / ((4 / 3.0) + 0.3);
        Assert.Equal(-1.25 * p, expected.Linear(0, 0, GroupEffect.Expansion.First), 1e-12);
        Assert.Equal(-1.25 * p * (1 + (p / 3)), expected.Linear(0, 0, GroupEffect.Expansion.Second), 1e-12);
    }

    private static (InfluenceTask Task, Examples Train, Examples Queries) Scalar()
    {
        var model = nn.Linear(1, 1, hasBias: false, dtype: float64);
        using (no_grad())
        {
            model.weight.fill_(1.75);
        }

        model.eval();
        Tensor Column(params double[] values) => tensor(values).unsqueeze(1);
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => 0.5 * b["h"].squeeze(1) * (model.call(b["x"]) - b["a"]).Squared().squeeze(1),
            Measurement = b => model.call(b["x"]).squeeze(1),
        };
        var train = Examples.FromTensors(("x", Column(1, 1, 1)), ("h", Column(1, 1, 2)), ("a", Column(0, 1, 3)));
        return (task, train, Examples.FromTensors(("x", Column(1)), ("h", Column(1)), ("a", Column(0))));
    }

    private static void Fit(TorchSharp.Modules.Linear model, Tensor x, Tensor y, Tensor weights)
    {
        using var noGrad = no_grad();
        model.weight.copy_(linalg.solve(x.t().mm(x * weights), x.t().mm(y * weights)).t());
    }
}
