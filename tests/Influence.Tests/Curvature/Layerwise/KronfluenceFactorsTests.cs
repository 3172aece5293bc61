using Influence.Curvature;
using Influence.Estimators;
using Influence.Formats;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>
/// Factors in kronfluence's files. Its own formulas (kronfluence/factor/config.py, Ekfac.prepare and precondition_gradient) over
/// gradients of plain autograd say what scores they must give; the bases are any orthogonal matrices, so that nothing is right by
/// accident.
/// </summary>
public sealed class KronfluenceFactorsTests : IDisposable
{
    /// <summary>Float64 throughout; the two ways differ in the order of some hundred sums.</summary>
    private const double Rounding = 1e-10;
    private const int Processed = 40;

    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();
    private readonly Dictionary<string, List<(string Name, Tensor Value)>> _files = [];

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ScoresAreThoseOfItsFormulas(bool convolution)
    {
        random.manual_seed(5);
        var first = convolution ? (nn.Module<Tensor, Tensor>)nn.Conv2d(2, 4, 3, dtype: float64) : nn.Linear(6, 4, dtype: float64);
        var head = nn.Linear(convolution ? 16 : 4, 3, hasBias: !convolution, dtype: float64);
        using var model = nn.Sequential(
            ("body", nn.Sequential(("first", first))),
            ("act", nn.Tanh()),
            ("flat", nn.Flatten()),
            ("head", head)
        );
        model.eval();
        long[] shape = convolution ? [7, 2, 4, 4] : [7, 6];
        var (x, y) = (randn(shape, dtype: float64), randint(0, 3, [7]));
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var examples = Examples.FromTensors(("x", x), ("y", y));
        (string Module, long Outputs, long Inputs)[] layers = convolution
            ? [("body.first", 4, 19), ("head", 3, 16)]
            : [("body.first", 4, 7), ("head", 3, 5)];
        var gradients = SingleExampleLoop.Gradients(
            model,
            t => nn.functional.cross_entropy(model.call(t[0]), t[1], reduction: nn.Reduction.None),
            [x, y]
        );
        var expected = zeros([7, 7], float64);
        long start = 0;
        foreach (var (module, outputs, inputs) in layers)
        {
            var (qa, qg, sums) = Write(module, outputs, inputs);
            var biased = convolution ? module != "head" : true;
            var weights = outputs * (inputs - (biased ? 1 : 0));
            var own = gradients.narrow(1, start, weights).reshape(7, outputs, -1);
            start += weights;
            if (biased)
            {
                own = cat([own, gradients.narrow(1, start, outputs).unsqueeze(2)], 2);
                start += outputs;
            }

            // Ekfac.prepare: lambda / count + damping, which is a tenth of the mean; precondition_gradient: rotate, weigh, rotate back.
            var lambda = sums / Processed;
            lambda += 0.1 * lambda.mean();
            var preconditioned = matmul(qg, matmul(matmul(qg.t(), matmul(own, qa)) / lambda, qa.t()));
            expected += preconditioned.flatten(1).mm(own.flatten(1).t());
        }

        Save();
        using var ekfac = Ekfac.FromKronfluence(_folder.Path("factors_ekfac"), task, examples);
        using var scores = new InfluenceFunction(ekfac) { Tolerance = 0 }.Score(task, examples, examples);

        Assert.Equal(Processed, ekfac.Info.Examples);
        Assert.StartsWith("unverified", ekfac.Info.Integrity, StringComparison.Ordinal);
        foreach (var q in Enumerable.Range(0, 7))
        {
            Assert.All(Enumerable.Range(0, 7), t => Assert.Equal(expected[q, t].item<double>(), scores[q, t], Rounding));
        }

        // It is a fit like any other: saved, read, and bound to the weights.
        ekfac.Save(_folder.Path("fit.safetensors"));
        using var again = Ekfac.Load(_folder.Path("fit.safetensors"));
        using var same = new InfluenceFunction(again) { Tolerance = 0 }.Score(task, examples, examples);
        Assert.Equal(scores.ForQuery(3).Values, same.ForQuery(3).Values);
    }

    [Fact]
    public void WhatDoesNotFitIsRefused()
    {
        using var c = new Classifier();
        Refused(c, "There is no activation_eigenvectors.safetensors");

        Write("hidden", 6, 5);
        Save();
        Refused(c, "no factors of head.weight, head.bias");

        Write("head", 3, 6);
        Save();
        Refused(c, "is [6, 6]; expected [7, 7]");
    }

    private void Refused(Classifier c, string says) =>
        Assert.Contains(
            says,
            Assert.Throws<InfluenceException>(() => Ekfac.FromKronfluence(_folder.Path("factors_ekfac"), c.Task(), c.Train)).Message,
            StringComparison.Ordinal
        );

    /// <summary>A layer's tensors, as kronfluence keeps them: eigenvalues near zero may be below it.</summary>
    private (Tensor QA, Tensor QG, Tensor Sums) Write(string module, long outputs, long inputs)
    {
        var (qa, qg) = (linalg.qr(randn(inputs, inputs, dtype: float64)).Q, linalg.qr(randn(outputs, outputs, dtype: float64)).Q);
        var sums = rand(outputs, inputs, dtype: float64) * Processed;
        Add("activation_eigenvectors", qa);
        Add("activation_eigenvalues", arange(inputs, float64) - 1e-9);
        Add("gradient_eigenvectors", qg);
        Add("gradient_eigenvalues", arange(outputs, float64) - 1e-9);
        Add("lambda_matrix", sums);
        Add("num_lambda_processed", tensor(new[] { (long)Processed }));
        return (qa, qg, sums);

        void Add(string file, Tensor value)
        {
            _files.TryAdd(file, []);
            _files[file].Add((module, value));
        }
    }

    private void Save()
    {
        Directory.CreateDirectory(_folder.Path("factors_ekfac"));
        foreach (var (file, tensors) in _files)
        {
            Safetensors.Save(_folder.Path($"factors_ekfac/{file}.safetensors"), tensors, new Dictionary<string, string>());
        }
    }
}
