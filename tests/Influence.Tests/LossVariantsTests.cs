using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Curvature;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests;

/// <summary>Losses beyond plain cross-entropy: their values, scores with them against loops, and what their drawn labels converge
/// to.</summary>
public sealed class LossVariantsTests : IDisposable
{
    // float64; what is left is the order of sums, and for EK-FAC of eigenvectors.
    private const double Rounding = 1e-9;

    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly Tensor _weights = tensor(new[] { 0.5, 2.0, 1.3 });

    public LossVariantsTests() => random.manual_seed(31);

    public static TheoryData<string> Kinds =>
        [
            "label smoothing",
            "class weights and ignored targets",
            "a teacher",
            "a hot teacher",
            "several labels",
            "Huber",
            "preference",
            "advantages",
            "policy gradient",
            "policy gradient, clipped",
        ];

    public void Dispose() => _scope.Dispose();

    /// <summary>TracIn's scores are products of the loop's gradients, and EK-FAC's those of the book, in an MLP whose layers are seen once
    /// or twice.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void ScoresWithIt(string kind)
    {
        var trace = new LayerTrace();
        var (first, second) = (nn.Linear(5, 6, dtype: float64), nn.Linear(6, 3, dtype: float64));
        var model = new Composite(
            x => trace.Call("second", second, trace.Call("first", first, x).tanh()),
            ("first", first),
            ("second", second)
        );
        model.eval();
        var (inputs, loss) = Case(kind, model.call, 14);
        var made = new TracedModel(kind, trace, model, loss, _ => inputs);
        var examples = Examples.FromTensors(inputs) with { BatchSize = 5 };
        var g = SingleExampleLoop.Gradients(model, loss, inputs);

        using var tracIn = new TracIn().Score(made.Task(), examples, examples);
        Assert.True(SingleExampleLoop.RelativeError(tracIn.Values, g.mm(g.t())) < Rounding);

        using var fit = Ekfac.Fit(made.Task(), examples, LayerwiseMethods.Empirical with { Damping = Damping.Absolute(0.01) });
        using var ekfac = new InfluenceFunction(fit) { Tolerance = 0 }.Score(made.Task(), examples, examples);
        var expected = made.Oracle(inputs).Scores(measured: true, _ => 0.01, model, loss, TracedModel.One(inputs));
        Assert.True(SingleExampleLoop.RelativeError(ekfac.Values, expected) < 1e-8);
    }

    /// <summary>
    /// At one prediction, a bias alone: the mean square of gradients with drawn labels is the Hessian of the loss in the outputs, by
    /// central differences of the data's own loss. Drawn 40,000 times the relative error is about 1/100; the seed is fixed.
    /// </summary>
    [Theory]
    [InlineData("label smoothing")]
    [InlineData("class weights and ignored targets")]
    [InlineData("a teacher")]
    [InlineData("a hot teacher")]
    [InlineData("several labels")]
    [InlineData("preference")]
    public void DrawnLabelsGiveTheHessian(string kind)
    {
        var (bias, model) = Constant();
        var (inputs, loss) = Case(kind, x => model.call(ones(x.shape[0], 1, dtype: float64)), 40_000);
        var hessian = Hessian(bias, () => loss(inputs).mean().item<double>());
        var drawn = Drawn(model, inputs, loss);
        Assert.True(((drawn - hessian).abs().max() / hessian.abs().max()).item<double>() < 0.04, $"{drawn} against {hessian}");
    }

    /// <summary>Huber's Fisher is the share of its own density that lies in the middle: 0.5851763 for d = 1.</summary>
    [Fact]
    public void DrawnTargetsOfHuber()
    {
        var (_, model) = Constant();
        Tensor[] inputs = [randn([40_000, 3], dtype: float64)];
        var drawn = Drawn(model, inputs, t => Losses.Huber(model.call(ones(t[0].shape[0], 1, dtype: float64)), t[0]));
        Assert.True((drawn - 0.5851763).abs().max().item<double>() < 0.02, $"{drawn}");

        // The sampler itself: shares of the middle, of each side, and the tails' mean distance beyond d, which is 1/d.
        foreach (var (delta, middle) in new[] { (1.0, 0.5851763), (0.5, 0.2143976) })
        {
            var r =
                new InfluenceTask.Sampler(5, [.. Enumerable.Range(0, 40_000).Select(i => (long)i)]).Huber(
                    full([40_000], 2, dtype: float64),
                    delta
                ) - 2;
            var tail = r.abs().gt(delta);
            Assert.Equal(middle, 1 - tail.to_type(float64).mean().item<double>(), 2);
            Assert.Equal(0.5, r.gt(0).to_type(float64).mean().item<double>(), 2);
            Assert.InRange((r.abs().masked_select(tail) - delta).mean().item<double>() * delta, 0.97, 1.03);
        }
    }

    [Fact]
    public void Values()
    {
        var (z, y) = (randn(6, 4, 3, dtype: float64), randint(0, 3, [6, 4]));
        y[0, 1] = -100;
        y[3, 3] = -100;
        var logs = z.log_softmax(-1);
        var kept = y.ne(-100);
        var labels = y.masked_fill(kept.logical_not(), 0);
        var own = -logs.gather(-1, labels.unsqueeze(-1)).squeeze(-1) * _weights.index_select(0, labels.reshape(-1)).reshape(labels.shape);
        var smooth = ((0.8 * own) + (0.2 / 3 * -(logs * _weights).sum(-1))) * kept.to_type(float64);
        Same(smooth.sum(1), Losses.SmoothedCrossEntropy(z, y, 0.2, _weights));
        Same(smooth.sum(1) / kept.sum(1), Losses.SmoothedCrossEntropy(z, y, 0.2, _weights, meanOverPositions: true));
        Same(Losses.CrossEntropy(z, y, kept), Losses.SmoothedCrossEntropy(z, y, 0));

        var teacher = randn(6, 4, 3, dtype: float64);
        var (p, q) = ((z / 2).exp(), (teacher / 2).exp());
        (p, q) = (p / p.sum(-1, keepdim: true), q / q.sum(-1, keepdim: true));
        var kl = (q * (q / p).log()).sum(-1) * 4;
        Same(kl.sum(1), Losses.Distillation(z, teacher, 2));
        Same((kl * kept.to_type(float64)).sum(1), Losses.Distillation(z, teacher, 2, kept));
        Assert.True(Losses.Distillation(z, z).abs().max().item<double>() < 1e-14);

        var r = z - teacher;
        Same(where(r.abs().le(0.7), 0.5 * r * r, 0.7 * (r.abs() - 0.35)).sum(1, 2), Losses.Huber(z, teacher, 0.7));
        var (c, d) = (randn(5, dtype: float64), randn(5, dtype: float64));
        Same((1 + (-0.3 * (c - d - (d - c))).exp()).log(), Losses.Preference(c, d, d, c, 0.3));

        static void Same(Tensor expected, Tensor actual) =>
            Assert.True((expected - actual).abs().max().item<double>() < 1e-12, $"{expected} against {actual}");
    }

    /// <summary>By the formula, token by token, with ratios on both sides of the clip; and where nothing is old, minus the advantage times
    /// the gradient of the log-likelihood.</summary>
    [Fact]
    public void PolicyGradients()
    {
        var (z, y, a) = (randn(6, 4, 3, dtype: float64), randint(0, 3, [6, 4]), randn([6], dtype: float64));
        var mask = ones([6, 4]);
        mask[1, 2] = 0;
        var own = z.log_softmax(-1).gather(-1, y.unsqueeze(-1)).squeeze(-1); // [6, 4]
        var old = own + (0.3 * randn([6, 4], dtype: float64));
        var expected = new double[6];
        for (var i = 0; i < 6; i++)
        {
            for (var t = 0; t < 4; t++)
            {
                var (r, advantage) = (Math.Exp((own[i, t] - old[i, t]).item<double>()), a[i].item<double>());
                expected[i] -= (i, t) == (1, 2) ? 0 : Math.Min(r * advantage, Math.Clamp(r, 0.8, 1.2) * advantage);
            }
        }

        var found = Losses.PolicyGradient(z, y, a, old, mask: mask);
        Assert.True((found - tensor(expected)).abs().max().item<double>() < 1e-12);
        Assert.Equal(expected[1] / 3, Losses.PolicyGradient(z, y, a, old, mask: mask, meanOverPositions: true)[1].item<double>(), 1e-12);
        Assert.Equal(expected[2], Losses.PolicyGradient(z, y, a.unsqueeze(1).expand(6, 4), old)[2].item<double>(), 1e-12);

        var logits = z.clone().requires_grad_(true);
        Losses.PolicyGradient(logits, y, a).sum().backward();
        var one = zeros_like(z).scatter(-1, y.unsqueeze(-1), ones([6, 4, 1], dtype: float64)) - z.softmax(-1);
        Assert.True((logits.grad! + (a.reshape(6, 1, 1) * one)).abs().max().item<double>() < 1e-12);
    }

    /// <summary>The policy's own Fisher at one prediction, diag(p) - pp'; drawn 40,000 times, as above.</summary>
    [Fact]
    public void DrawnTokensGiveThePolicysFisher()
    {
        var (bias, model) = Constant();
        var (inputs, loss) = Case("policy gradient, clipped", x => model.call(ones(x.shape[0], 1, dtype: float64)), 40_000);
        var p = bias.detach().softmax(0);
        Assert.True((Drawn(model, inputs, loss) - (p * (1 - p))).abs().max().item<double>() < 0.01);
        var task = new InfluenceTask(model) { TrainingLoss = b => loss([.. b.Tensors]) };
        Fails(
            "Gauss-Newton",
            () =>
                ConjugateGradient
                    .Fit(
                        task,
                        Examples.FromTensors([.. inputs.Select(t => t[..20])]),
                        new ConjugateGradient.Options { Matrix = CurvatureMatrix.GaussNewton }
                    )
                    .Info.Damping
        );

        static void Fails(string told, Func<object> call) =>
            Assert.Contains(told, Assert.Throws<InfluenceException>(() => call()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WhatDoesNotFitIsRefused()
    {
        var (z, y) = (randn(4, 3, dtype: float64), randint(0, 3, [4]));
        Fails("Class weights are [C] = [3]", () => Losses.SmoothedCrossEntropy(z, y, 0.1, ones(2)));
        Fails("Class weights", () => Losses.SmoothedCrossEntropy(z, y, 0.1, tensor(new[] { -1.0, 1, 1 })));
        Fails("smoothing", () => Losses.SmoothedCrossEntropy(z, y, 1.5));
        Fails("Class indices go from 0 to 2", () => Losses.SmoothedCrossEntropy(z, y + 3, 0.1));
        Fails("temperature", () => Losses.Distillation(z, z, 0));
        Fails("same shape", () => Losses.Distillation(z, randn(4, 2, dtype: float64)));
        Fails("mask [2]", () => Losses.Distillation(z, z, mask: ones(2)));
        Fails("delta", () => Losses.Huber(z, z, -1));
        Fails("advantages [B] = [4]", () => Losses.PolicyGradient(z, y, ones(3)));
        Fails("clip", () => Losses.PolicyGradient(z, y, ones(4), clip: 0));
        Fails("beta", () => Losses.Preference(z.select(1, 0), z.select(1, 1), z.select(1, 0), z.select(1, 1), 0));

        static void Fails(string told, Func<Tensor> call) =>
            Assert.Contains(told, Assert.Throws<InfluenceException>(call).Message, StringComparison.Ordinal);
    }

    private static (TorchSharp.Modules.Parameter Bias, TorchSharp.Modules.Linear Model) Constant()
    {
        var model = nn.Linear(1, 3, dtype: float64);
        using (no_grad())
        {
            model.weight.zero_();
            model.bias!.copy_(tensor(new[] { 0.4, -0.7, 0.9 }));
        }

        return (model.bias!, model);
    }

    private static Tensor Drawn(TorchSharp.Modules.Linear model, Tensor[] inputs, Func<Tensor[], Tensor> loss)
    {
        var task = new InfluenceTask(model) { TrainingLoss = b => loss([.. b.Tensors]), Layers = LayerSelection.Where(n => n == "bias") };
        var examples = Examples.FromTensors(inputs) with { BatchSize = (int)inputs[0].shape[0] };
        using var fit = DiagonalFisher.Fit(task, examples);
        return fit.Blocks[0]!.Tensors().Single().Value.clone();
    }

    private static Tensor Hessian(Tensor bias, Func<double> loss)
    {
        // Central differences: off by step^2/12 times a fourth derivative (1e-9) and by 1e-16/step^2 of rounding (1e-8).
        const double Step = 1e-4;
        using var noGrad = no_grad();
        return tensor(
            Enumerable
                .Range(0, 3)
                .Select(k =>
                {
                    var middle = loss();
                    bias[k].add_(Step);
                    var ahead = loss();
                    bias[k].sub_(2 * Step);
                    var behind = loss();
                    bias[k].add_(Step);
                    return (ahead - (2 * middle) + behind) / (Step * Step);
                })
                .ToArray()
        );
    }

    private (Tensor[] Inputs, Func<Tensor[], Tensor> Loss) Case(string kind, Func<Tensor, Tensor> model, long n)
    {
        var (x, y) = (randn([n, 5], dtype: float64), randint(0, 3, [n]));
        switch (kind)
        {
            case "label smoothing":
                return ([x, y], t => Losses.SmoothedCrossEntropy(model(t[0]), t[1], 0.15));
            case "class weights and ignored targets":
                y = y.masked_fill(arange(n).remainder(7).eq(3), -100);
                return ([x, y], t => Losses.SmoothedCrossEntropy(model(t[0]), t[1], 0.1, _weights));
            case "a teacher":
                return ([x, randn([n, 3], dtype: float64)], t => Losses.Distillation(model(t[0]), t[1]));
            case "a hot teacher":
                return ([x, randn([n, 3], dtype: float64) * 3], t => Losses.Distillation(model(t[0]), t[1], temperature: 2.5));
            case "several labels":
                return ([x, randint(0, 2, [n, 3]).to_type(float64)], t => Losses.BinaryCrossEntropy(model(t[0]), t[1]));
            case "Huber":
                return ([x, randn([n, 3], dtype: float64) * 2], t => Losses.Huber(model(t[0]), t[1], 0.8));
            case "preference":
                return (
                    [x, randn([n, 5], dtype: float64), y, randint(0, 3, [n]), randn([n], dtype: float64), randn([n], dtype: float64)],
                    t => Losses.Preference(LogLikelihood(t[0], t[2]), LogLikelihood(t[1], t[3]), t[4], t[5], beta: 0.7)
                );
            case "policy gradient":
                return ([x, y, randn([n], dtype: float64)], t => Losses.PolicyGradient(model(t[0]), t[1], t[2]));
            case "policy gradient, clipped":
                return (
                    [x, y, randn([n], dtype: float64), -1.1 + (0.5 * randn([n], dtype: float64))],
                    t => Losses.PolicyGradient(model(t[0]), t[1], t[2], t[3], clip: 0.3)
                );
            default:
                // As in policy gradients over groups of answers: an advantage of either sign times the answer's log-likelihood.
                return ([x, y, randn([n], dtype: float64)], t => -t[2] * LogLikelihood(t[0], t[1]));
        }

        Tensor LogLikelihood(Tensor answer, Tensor label) => model(answer).log_softmax(-1).gather(-1, label.unsqueeze(-1)).squeeze(-1);
    }
}
