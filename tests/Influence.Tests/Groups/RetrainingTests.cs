using Influence.Curvature;
using Influence.Groups;
using Influence.Tests.Oracles;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using Xunit.Abstractions;
using static TorchSharp.torch;

namespace Influence.Tests.Groups;

/// <summary>Predicted effects against models that were trained to their optimum again, on the re-weighted data.</summary>
public class RetrainingTests(ITestOutputHelper output)
{
    private const double WeightDecay = 0.02;
    private const int Count = 120;

    /// <summary>
    /// Logistic regression with weight decay; the groups are clusters, of which the largest is two fifths of the data. Errors are over all
    /// pairs of clusters, relative to the true changes.
    /// </summary>
    [Theory]
    [InlineData(0, 0.35)]
    [InlineData(0.5, 0.05)]
    [InlineData(2, 0.05)]
    public void LogisticRegression(double weight, double newton)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var model = nn.Linear(2, 1, dtype: float64);
        model.eval();
        var errors = Compare(model, weight, GroupEffect.Expansion.Newton);

        Assert.True(errors[(GroupEffect.Expansion.Second, false)] < 0.9 * errors[(GroupEffect.Expansion.First, false)]);
        Assert.True(errors[(GroupEffect.Expansion.Second, true)] < 0.8 * errors[(GroupEffect.Expansion.First, true)]);
        Assert.True(errors[(GroupEffect.Expansion.Newton, true)] < errors[(GroupEffect.Expansion.Second, true)]);
        Assert.True(errors[(GroupEffect.Expansion.Newton, true)] < newton);
        Assert.All(Enum.GetValues<GroupEffect.Expansion>(), order => Assert.True(errors[(order, true)] < errors[(order, false)]));
    }

    /// <summary>
    /// A network, trained on from its optimum. Newton's matrix is not positive there without damping, and with a group of two fifths
    /// removed it takes more than is good: the second order needs none.
    /// </summary>
    [Theory]
    [InlineData(0, GroupEffect.Expansion.Second, 0)]
    [InlineData(0.5, GroupEffect.Expansion.Second, 0)]
    [InlineData(2, GroupEffect.Expansion.Second, 0)]
    [InlineData(0.5, GroupEffect.Expansion.Newton, 0.02)]
    [InlineData(2, GroupEffect.Expansion.Newton, 0.02)]
    public void AnMlp(double weight, GroupEffect.Expansion highest, double damping)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var (hidden, head) = (nn.Linear(2, 5, dtype: float64), nn.Linear(5, 1, dtype: float64));
        var model = new Composite(x => head.call(hidden.call(x).tanh()), ("hidden", hidden), ("head", head));
        model.eval();
        var errors = Compare(model, weight, highest, damping);

        Assert.True(errors[(GroupEffect.Expansion.Second, true)] < 0.95 * errors[(GroupEffect.Expansion.First, true)]);
        Assert.True(
            highest == GroupEffect.Expansion.Second
                || errors[(GroupEffect.Expansion.Newton, true)] < errors[(GroupEffect.Expansion.Second, true)]
        );
        Assert.All(errors.Keys, key => Assert.True(errors[(key.Item1, true)] <= errors[(key.Item1, false)]));
    }

    private Dictionary<(GroupEffect.Expansion, bool), double> Compare(
        nn.Module<Tensor, Tensor> model,
        double weight,
        GroupEffect.Expansion highest,
        double damping = 0
    )
    {
        var (x, y, cluster) = Clusters(Count, 5);
        var (queryX, queryY, queryCluster) = Clusters(60, 6);
        Tensor Loss(Tensor inputs, Tensor targets) =>
            nn.functional.binary_cross_entropy_with_logits(model.call(inputs).squeeze(1), targets, reduction: nn.Reduction.None);
        Tensor Decay() => WeightDecay / 2 * model.parameters().Select(p => p.Squared().sum()).Aggregate((a, b) => a + b);
        var weights = ones([Count], dtype: float64);
        Tensor Objective() => ((Loss(x, y) * weights).sum() / weights.sum()) + Decay();

        var norm = NewtonTrainer.Train(model, Objective);
        Assert.True(norm < 1e-8, $"gradient {norm}");
        var optimum = model.parameters().Select(p => p.detach().clone()).ToArray();
        var task = new InfluenceTask(model) { TrainingLoss = b => Loss(b["x"], b["y"]) + Decay(), Measurement = b => Loss(b["x"], b["y"]) };
        var (train, queries) = (Examples.FromTensors(("x", x), ("y", y)), Examples.FromTensors(("x", queryX), ("y", queryY)));
        var groups = ExampleGroups.Of(train.Ids, id => $"cluster {cluster[id]}");
        var queryGroups = ExampleGroups.Of(queries.Ids, id => $"cluster {queryCluster[id]}");
        using var dense = DenseCurvature.Fit(task, train, new() { Matrix = CurvatureMatrix.Hessian, Damping = Damping.Absolute(damping) });
        var effects = new GroupEffect(dense) { Order = highest }.Predict(task, train, groups, queries, queryGroups, weight);

        var now = Means(queryGroups);
        var truth = new double[now.Length, groups.Names.Count];
        for (var g = 0; g < groups.Names.Count; g++)
        {
            weights.fill_(1);
            foreach (var id in groups[groups.Names[g]])
            {
                weights[id] = weight;
            }

            var left = NewtonTrainer.Train(model, Objective);
            Assert.True(left < 1e-8, $"{groups.Names[g]}: gradient {left}");
            var after = Means(queryGroups);
            for (var q = 0; q < now.Length; q++)
            {
                truth[q, g] = after[q] - now[q];
            }

            using var noGrad = no_grad();
            foreach (var (parameter, old) in model.parameters().Zip(optimum))
            {
                parameter.copy_(old);
            }
        }

        var errors = new Dictionary<(GroupEffect.Expansion, bool), double>();
        double[] exact = [.. truth.Cast<double>()];
        foreach (var order in effects.Orders)
        {
            foreach (var moved in new[] { false, true })
            {
                double[] found =
                [
                    .. Enumerable
                        .Range(0, now.Length)
                        .SelectMany(q =>
                            Enumerable
                                .Range(0, groups.Names.Count)
                                .Select(g => moved ? effects.Moved(q, g, order) : effects.Linear(q, g, order))
                        ),
                ];
                var error = Math.Sqrt(found.Zip(exact, (f, e) => (f - e) * (f - e)).Sum() / exact.Sum(e => e * e));
                var slope = found.Zip(exact, (f, e) => f * e).Sum() / exact.Sum(e => e * e);
                errors[(order, moved)] = error;
                Assert.True(Spearman.Of(found, exact) > 0.95);
                output.WriteLine(
                    $"{order} {(moved ? "moved" : "linear")}: relative error {error:F4}, slope {slope:F3}, rank correlation "
                        + $"{Spearman.Of(found, exact):F3}"
                );
            }
        }

        return errors;

        double[] Means(ExampleGroups rows)
        {
            using var noGrad = no_grad();
            var values = Loss(queryX, queryY).data<double>().ToArray();
            return [.. rows.Names.Select(name => rows[name].Average(id => values[id]))];
        }
    }

    /// <summary>Four clusters of sizes 4 : 3 : 2 : 1 with labels by turns, that overlap.</summary>
    private static (Tensor X, Tensor Y, int[] Cluster) Clusters(int count, long seed)
    {
        random.manual_seed(seed);
        int[] cluster =
        [
            .. Enumerable
                .Range(0, count)
                .Select(i =>
                    (i % 10) switch
                    {
                        < 4 => 0,
                        < 7 => 1,
                        < 9 => 2,
                        _ => 3,
                    }
                ),
        ];
        var centres = tensor(new double[] { -1.2, 0.3, 1.2, 0.5, -0.5, 1.5, 0.8, -1.5 }).reshape(4, 2);
        var index = tensor(cluster.Select(c => (long)c).ToArray());
        var y = index.remainder(2).to_type(ScalarType.Float64);
        return (centres.index_select(0, index) + (0.8 * randn([count, 2], dtype: float64)), y, cluster);
    }
}
