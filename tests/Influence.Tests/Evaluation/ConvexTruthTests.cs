using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using Xunit.Abstractions;
using static Influence.Tests.Evaluation.EvaluationCases;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>
/// From end to end on a convex model: softmax regression with weight decay, retrained to its minimum on halves and without
/// single examples. Influence functions with the exact curvature are close to the truth there, whatever is wrong is ours.
/// </summary>
public sealed class ConvexTruthTests : IDisposable
{
    private const int Train = 60;
    private const int Queries = 12;
    private const int Features = 4;
    private const int Classes = 3;
    private const double Decay = 0.05;
    private readonly double[,] _x = Random(Train + Queries, Features, 1);
    private readonly int[] _y = new int[Train + Queries];
    private readonly TempFolder _folder = new();
    private readonly ITestOutputHelper _output;

    public ConvexTruthTests(ITestOutputHelper output)
    {
        _output = output;

        // Labels by a noisy linear rule, so that classes overlap.
        var (rule, noise) = (Random(Features, Classes, 2), Random(Train + Queries, Classes, 3));
        for (var i = 0; i < _y.Length; i++)
        {
            double[] logits =
            [
                .. Enumerable
                    .Range(0, Classes)
                    .Select(k => (0.8 * noise[i, k]) + Enumerable.Range(0, Features).Sum(d => 3 * _x[i, d] * rule[d, k])),
            ];
            _y[i] = Array.IndexOf(logits, logits.Max());
        }
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void InfluenceFunctionsAgreeWithRetraining()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Linear(Features, Classes, hasBias: false, dtype: ScalarType.Float64);
        using var model = new Composite(layer.call, ("layer", layer));
        model.eval();
        var all = Ids(Train);
        using (no_grad())
        {
            layer.weight!.copy_(tensor(Minimum(all)));
        }

        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var x = tensor(_x);
        var y = tensor(_y.Select(label => (long)label).ToArray());
        var train = Examples.FromTensors(("x", x.narrow(0, 0, Train)), ("y", y.narrow(0, 0, Train)));
        var queries = Examples.FromTensors(("x", x.narrow(0, Train, Queries)), ("y", y.narrow(0, Train, Queries)));
        using var curvature = DenseCurvature.Fit(task, train, new() { Damping = Damping.Absolute(Decay) });
        using var influence = new InfluenceFunction(curvature).Score(task, train, queries);
        using var gradients = new TracIn().Score(task, train, queries);

        var halves = new Retraining(_folder.Path("halves")) { Settings = "softmax regression" }.Run(
            Subsets.Half(all, 40, seed: 1),
            queries.Ids,
            Measure
        );
        var comparison = new ScoreComparison { Bootstrap = Quick }.Evaluate(halves, ("influence", influence), ("gradients", gradients));
        var without = new Retraining(_folder.Path("without")).Run(Subsets.LeaveOneOut(all), queries.Ids, Measure);
        var leaveOneOut = new LeaveOneOutCorrelation { Bootstrap = Quick }.Evaluate(influence, without);

        _output.WriteLine($"{comparison}{Environment.NewLine}{leaveOneOut}");

        // Seen: 0.994, 0.9999 and 1.04 (an example's leverage makes its effect larger than the estimate). A wrong sign, join
        // or curvature falls far below.
        Assert.True(comparison.Scores[0].Lds.Value > 0.98, comparison.ToString());
        Assert.True(leaveOneOut.Pearson.Value > 0.999, leaveOneOut.ToString());
        Assert.InRange(leaveOneOut.Slope.Value, 1, 1.1);
    }

    private double[] Measure(Retraining.Job run)
    {
        var weights = Minimum(run.Ids);
        return [.. Enumerable.Range(Train, Queries).Select(i => -Math.Log(Probabilities(weights, i)[_y[i]]))];
    }

    /// <summary>Gradient descent on the mean loss plus decay/2 |w|^2: each step shrinks the distance to 0.8 of itself, or less.</summary>
    private double[,] Minimum(IReadOnlyList<long> ids)
    {
        var weights = new double[Classes, Features];
        for (var step = 0; step < 150; step++)
        {
            var gradient = new double[Classes, Features];
            foreach (var id in ids)
            {
                var p = Probabilities(weights, (int)id);
                for (var k = 0; k < Classes; k++)
                {
                    var delta = (p[k] - (_y[id] == k ? 1 : 0)) / ids.Count;
                    for (var d = 0; d < Features; d++)
                    {
                        gradient[k, d] += delta * _x[id, d];
                    }
                }
            }

            for (var k = 0; k < Classes; k++)
            {
                for (var d = 0; d < Features; d++)
                {
                    weights[k, d] -= 4 * (gradient[k, d] + (Decay * weights[k, d]));
                }
            }
        }

        return weights;
    }

    private double[] Probabilities(double[,] weights, int i)
    {
        var p = new double[Classes];
        for (var k = 0; k < Classes; k++)
        {
            for (var d = 0; d < Features; d++)
            {
                p[k] += weights[k, d] * _x[i, d];
            }
        }

        var sum = 0.0;
        for (var k = 0; k < Classes; k++)
        {
            sum += p[k] = Math.Exp(p[k]);
        }

        for (var k = 0; k < Classes; k++)
        {
            p[k] /= sum;
        }

        return p;
    }
}
