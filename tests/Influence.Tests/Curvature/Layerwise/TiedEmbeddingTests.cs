using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>A table that is embedding and head: EK-FAC measures along the head's inputs with the whole gradient, against a dense
/// Fisher.</summary>
public class TiedEmbeddingTests
{
    /// <summary>Float64; eigenvectors of a covariance of 4 to 6 inputs.</summary>
    private const double Rounding = 1e-9;

    /// <summary>
    /// F = E[g g'] written out from the loop's gradients of the tied table, Q = I (x) Q_A with the eigenvectors of the head's inputs, and
    /// scores g' (Q diag(Q'FQ) Q' + damping)^-1 g: what is off the diagonal is all that EK-FAC leaves out.
    /// </summary>
    [Theory]
    [InlineData(3, 8192)]
    [InlineData(20, 8192)]
    [InlineData(20, 2)]
    public void ScoresAreThoseOfTheDenseFisher(int batchSize, int maximumFactor)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(11);
        var (table, head) = (nn.Embedding(9, 4, dtype: float64), nn.Linear(4, 9, dtype: float64));
        head.weight = table.weight!;
        var seen = new List<Tensor>();
        var model = new Composite(
            x =>
            {
                var inputs = table.call(x).cumsum(1).tanh();
                seen.Add(inputs.detach().reshape(-1, 4));
                return head.call(inputs);
            },
            ("table", table),
            ("head", head)
        );
        model.eval();
        var (x, y) = (randint(0, 9, [20, 5]), randint(0, 9, [20, 5]));
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]),
            Layers = LayerSelection.Where(n => n.EndsWith("weight", StringComparison.Ordinal)),
        };
        var examples = Examples.FromTensors(("x", x), ("y", y)) with { BatchSize = batchSize };
        using var fit = Ekfac.Fit(
            task,
            examples,
            LayerwiseMethods.Empirical with
            {
                Damping = Damping.Absolute(0.03),
                MaximumFactorSize = maximumFactor,
            }
        );
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(task, examples, examples);

        seen.Clear();
        model.call(x);
        var a = seen[0].t().mm(seen[0]) / seen[0].shape[0]; // [D, D]
        if (maximumFactor < 4)
        {
            a = a * block_diag([ones([2, 2], float64), ones([2, 2], float64)]);
        }

        // [N, V D]
        var g = SingleExampleLoop.Gradients(model, t => Losses.CrossEntropy(model.call(t[0]), t[1]), [x, y], n => n == "table.weight");
        var q = eye(9, dtype: float64).kron(linalg.eigh(a).Item2.contiguous());
        var fisher = q.t().mm(g.t().mm(g) / 20).mm(q);
        var inverse = q.mm(diag(1 / (fisher.diagonal() + 0.03))).mm(q.t());

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, g.mm(inverse).mm(g.t())) < Rounding);

        // The cross terms are a good part of it: without them the eigenvalues would be others.
        var untied = fisher.diagonal();
        var parts = Parts(model, table, x, y).Select(p => p.mm(q).Squared().mean([0])).Aggregate((one, other) => one + other);
        Assert.True(((untied - parts).abs().max() / untied.abs().max()).item<double>() > 0.05);
    }

    /// <summary>In a model whose other layers are taken too, saved and read back, by drawn labels, and by single examples where a batch
    /// needs them.</summary>
    [Fact]
    public void InGpt2()
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        random.manual_seed(12);
        var (model, data) = (new TinyGpt2(), TinyGpt2.Sequences(10));
        var options = new Ekfac.Options { Seed = 3 };
        using var fit = Ekfac.Fit(model.Task(), data, options);
        using var small = Ekfac.Fit(model.Task(), data with { BatchSize = 3 }, options);
        fit.Save(folder.Path("fit.safetensors"));
        using var read = Ekfac.Load(folder.Path("fit.safetensors"));
        using var expected = new InfluenceFunction(fit) { Tolerance = 0 }.Score(model.Task(), data, data);

        foreach (var other in new[] { small, read })
        {
            using var scores = new InfluenceFunction(other) { Tolerance = 0 }.Score(model.Task(), data, data);
            Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected.Values) < Rounding);
        }

        var table = fit.MeanEigenvalues.Single(m => m.Parameters is "transformer.wte.weight" or "lm_head.weight");
        Assert.True(table.MeanEigenvalue > 0);
        Assert.True(Ekfac.Estimate(model.Task(), data, options).PeakBytes > 0);
        Assert.Equal(1, model.Task().Coverage(data).Fraction);
        Assert.Equal(0, model.Task().Coverage(data).BySingleExamples);
    }

    /// <summary>K-FAC keeps the diagonal, cross terms and all.</summary>
    [Fact]
    public void KfacKeepsTheDiagonal()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(13);
        var (model, data) = (new TinyGpt2(), TinyGpt2.Sequences(10));
        var task = model.Task(
            LayerSelection.Where(n => n.Contains("wte", StringComparison.Ordinal) || n.Contains("lm_head", StringComparison.Ordinal))
        );
        var options = LayerwiseMethods.Empirical with { Damping = Damping.Absolute(0.01) };
        using var kfac = Kfac.Fit(task, data, options);
        using var diagonal = DiagonalFisher.Fit(task, data, options);
        using var byKfac = new InfluenceFunction(kfac).Score(task, data, data);
        using var byDiagonal = new InfluenceFunction(diagonal).Score(task, data, data);
        Assert.True(SingleExampleLoop.RelativeError(byKfac.Values, byDiagonal.Values) < Rounding);
    }

    /// <summary>The gradients of the two uses apart, each with the other's table held fixed.</summary>
    private static IEnumerable<Tensor> Parts(Composite model, TorchSharp.Modules.Embedding table, Tensor x, Tensor y)
    {
        foreach (var asHead in new[] { true, false })
        {
            var rows = new List<Tensor>();
            for (var i = 0; i < x.shape[0]; i++)
            {
                var moving = table.weight!.detach().clone().requires_grad_(true);
                var still = table.weight!.detach();
                var inputs = (asHead ? still : moving).index_select(0, x[i]).unsqueeze(0).cumsum(1).tanh();
                var logits = nn.functional.linear(inputs, asHead ? moving : still, model.get_parameter("head.bias"));
                Losses.CrossEntropy(logits, y.narrow(0, i, 1)).sum().backward();
                rows.Add(moving.grad!.detach().reshape(-1));
            }

            yield return stack([.. rows], 0);
        }
    }
}
