using System.Text.Json;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using Xunit.Abstractions;
using static TorchSharp.torch;

namespace Influence.Tests.Golden;

/// <summary>
/// A FashionMNIST classifier of another framework, scored by it in float64. Its training examples are fitted well, most with
/// losses below 1e-4, so that the order of scores is lost unless the loss's gradient is exact.
/// </summary>
public class W1Tests(ITestOutputHelper output)
{
    private const int Queries = 50;

    // float32 keeps 1e-7 of each product and the sums over 235,000 parameters add a little: 3e-6 is what a good float32
    // implementation gets here. A wrong factor, layer or bias shows as 1e-2 and more.
    private const double Float32 = 1e-5;

    [Fact]
    public void LogitsAgree() =>
        WithData(
            ScalarType.Float32,
            w1 =>
            {
                using var noGrad = no_grad();
                Assert.True(RelativeError(w1.Model.call(w1.Inputs("query_x")), w1.Folder.Read("query_logits")) < 1e-6);
            }
        );

    [Fact]
    public void DotProducts() =>
        WithData(
            ScalarType.Float32,
            w1 =>
            {
                using var scores = new TracIn().Score(w1.Task, w1.Train, w1.Queries);
                Agree(scores.Values, w1.Folder.Read("ref_tracin_dot"), Float32);
            }
        );

    [Fact]
    public void Cosines() =>
        WithData(
            ScalarType.Float32,
            w1 =>
            {
                using var scores = new TracIn { Similarity = TracIn.GradientSimilarity.Cosine }.Score(w1.Task, w1.Train, w1.Queries);
                Agree(scores.Values, w1.Folder.Read("ref_cosine"), Float32);
            }
        );

    [Fact]
    public void FourCheckpoints() =>
        WithData(
            ScalarType.Float32,
            w1 =>
            {
                using var scores = new TracIn { Checkpoints = w1.Checkpoints() }.Score(w1.Task, w1.Train, w1.Queries);
                Agree(scores.Values, w1.Folder.Read("ref_tracin_4ckpt_lr"), Float32);
            }
        );

    [Fact]
    public void SelfInfluence() =>
        WithData(
            ScalarType.Float32,
            w1 =>
            {
                var self = new TracIn().SelfInfluence(w1.Task, w1.Train);
                Agree(tensor(self.Values.ToArray()).unsqueeze(0), w1.Folder.Read("ref_self_dot_train").unsqueeze(0), Float32);
            }
        );

    /// <summary>
    /// In float64 what is left is rounding, 1e-16 of each term, and the reference's softmax cross-entropy, whose p_y - 1 is off by
    /// as much of 1: together 2e-15 of the matrix. A tenth of a float32 digit anywhere would show as 1e-9.
    /// </summary>
    [Fact]
    public void InFloat64() =>
        WithData(
            ScalarType.Float64,
            w1 =>
            {
                using var scores = new TracIn().Score(w1.Task, w1.Train, w1.Queries);
                Agree(scores.Values, w1.Folder.Read("ref_tracin_dot"), 1e-12);
                using var summed = new TracIn { Checkpoints = w1.Checkpoints() }.Score(w1.Task, w1.Train, w1.Queries);
                Agree(summed.Values, w1.Folder.Read("ref_tracin_4ckpt_lr"), 1e-12);
                var self = new TracIn().SelfInfluence(w1.Task, w1.Train);
                Agree(tensor(self.Values.ToArray()).unsqueeze(0), w1.Folder.Read("ref_self_dot_train").unsqueeze(0), 1e-12);
            }
        );

    [Theory]
    [InlineData("ekfac", "heur")]
    [InlineData("ekfac", "1e-3")]
    [InlineData("kfac", "heur")]
    [InlineData("kfac", "1e-3")]
    [InlineData("diag", "heur")]
    [InlineData("diag", "1e-3")]
    public void InfluenceFunctions(string method, string damping) =>
        WithData(
            ScalarType.Float32,
            w1 =>
            {
                var options = new Ekfac.Options
                {
                    Fisher = Fisher.Empirical,
                    Damping = damping == "heur" ? Damping.Default : Damping.Absolute(1e-3),
                };
                using Preconditioner fit = method switch
                {
                    "ekfac" => Ekfac.Fit(w1.Task, w1.Train, options),
                    "kfac" => Kfac.Fit(w1.Task, w1.Train, options),
                    _ => DiagonalFisher.Fit(w1.Task, w1.Train, options),
                };
                var expected = w1.Folder.Read($"ref_{method}_emp_damp_{damping}");
                using var exact = new InfluenceFunction(fit) { Tolerance = 0 }.Score(w1.Task, w1.Train, w1.Queries);
                // In float64 both sides agree to 2e-12. The heuristic damping of a model that is fitted this well is so small that
                // directions with eigenvalues near float32's rounding count: 5e-5 of the matrix, and queries whose scores are all small
                // exchange a few neighbours.
                Agree(exact.Values.narrow(0, 0, expected.shape[0]), expected, 1e-4, 0.9995);
                using var scores = new InfluenceFunction(fit).Score(w1.Task, w1.Train, w1.Queries);
                Agree(scores.Values.narrow(0, 0, expected.shape[0]), expected, 1e-3, 0.999);
            }
        );

    /// <summary>The search by few terms and bounds on images: scores are the exact ones to float32's rounding of these sums, and only
    /// examples whose scores differ by less than that may change places.</summary>
    [Theory]
    [InlineData("ekfac", 10)]
    [InlineData("kfac", 3)]
    public void StrongestAreThoseOfAllScores(string method, int k) =>
        WithData(
            ScalarType.Float32,
            w1 =>
            {
                var options = new Ekfac.Options { Fisher = Fisher.Empirical };
                using Preconditioner fit = method == "ekfac" ? Ekfac.Fit(w1.Task, w1.Train, options) : Kfac.Fit(w1.Task, w1.Train, options);
                var queries = w1.Train.Range(0, 96);
                using var exact = new InfluenceFunction(fit) { Tolerance = 0 }.Score(w1.Task, w1.Train, queries);
                var strongest = new InfluenceFunction(fit).Strongest(k, w1.Task, w1.Train, queries);
                for (var q = 0; q < queries.Count; q++)
                {
                    Same(exact.Proponents(q, k), strongest.Proponents(q));
                    Same(exact.Opponents(q, k), strongest.Opponents(q));
                }

                static void Same(RankedExamples expected, RankedExamples found)
                {
                    var largest = expected.Concat(found).Max(e => Math.Abs(e.Score));
                    foreach (var (e, f) in expected.Zip(found))
                    {
                        Assert.InRange(Math.Abs(e.Score - f.Score), 0, 1e-4 * largest);
                    }
                }
            }
        );

    /// <summary>Why <see cref="Losses.CrossEntropy"/> is there: the usual one cancels, and the order of well-fitted examples is
    /// noise.</summary>
    [Fact]
    public void TheUsualCrossEntropyRanksWorse() =>
        WithData(
            ScalarType.Float32,
            w1 =>
            {
                var task = new InfluenceTask(w1.Model)
                {
                    TrainingLoss = b => nn.functional.cross_entropy(w1.Model.call(b["x"]), b["y"], reduction: nn.Reduction.None),
                };
                using var scores = new TracIn().Score(task, w1.Train, w1.Queries);
                var worst = Spearman.WorstRow(scores.Values, w1.Folder.Read("ref_tracin_dot"));
                output.WriteLine($"worst Spearman of functional.cross_entropy: {worst:F4}");
                Assert.True(worst < 0.99, $"worst Spearman {worst:F4}");
            }
        );

    private void Agree(Tensor actual, Tensor expected, double tolerance, double rank = 0.9999)
    {
        var (error, worst) = (RelativeError(actual, expected), Spearman.WorstRow(actual, expected));
        output.WriteLine($"relative matrix error {error:E2}, worst Spearman {worst:F8}");
        Assert.True(error < tolerance, $"relative matrix error {error:E2}");
        Assert.True(worst > rank, $"worst Spearman {worst:F6}");
    }

    private static double RelativeError(Tensor actual, Tensor expected)
    {
        using var scope = NewDisposeScope();
        var wide = expected.to_type(ScalarType.Float64);
        return ((actual.to_type(ScalarType.Float64) - wide).norm() / wide.norm()).item<double>();
    }

    private void WithData(ScalarType dtype, Action<Data> test)
    {
        using var scope = NewDisposeScope();
        if (GoldenFolder.Find("w1") is not { } folder)
        {
            output.WriteLine("Not checked: there is no folder shared/golden/w1 in or beside a parent folder.");
            return;
        }

        test(new Data(folder, dtype));
    }

    private sealed class Data
    {
        private readonly ScalarType _dtype;

        public Data(GoldenFolder folder, ScalarType dtype)
        {
            (Folder, _dtype) = (folder, dtype);
            var (fc1, fc2, fc3) = (nn.Linear(784, 256, dtype: dtype), nn.Linear(256, 128, dtype: dtype), nn.Linear(128, 10, dtype: dtype));
            Model = new Composite(
                x => fc3.call(nn.functional.relu(fc2.call(nn.functional.relu(fc1.call(x))))),
                ("fc1", fc1),
                ("fc2", fc2),
                ("fc3", fc3)
            );
            Model.eval();
            Checkpoint.FromFile(folder.Path("weights.safetensors"), learningRate: 1).LoadInto(Model);
            Task = new InfluenceTask(Model) { TrainingLoss = b => Losses.CrossEntropy(Model.call(b["x"]), b["y"]) };
            Train = Examples.FromTensors(("x", Inputs("train_x")), ("y", folder.Read("train_y")));
            Queries = Examples.FromTensors(
                ("x", Inputs("query_x").narrow(0, 0, W1Tests.Queries)),
                ("y", folder.Read("query_y").narrow(0, 0, W1Tests.Queries))
            );
        }

        public GoldenFolder Folder { get; }

        public Composite Model { get; }

        public InfluenceTask Task { get; }

        public Examples Train { get; }

        public Examples Queries { get; }

        /// <summary>Pixels, normalised in float32 as they were for training.</summary>
        public Tensor Inputs(string name) => (((Folder.Read(name).to_type(ScalarType.Float32) / 255) - 0.2860f) / 0.3530f).to_type(_dtype);

        public IReadOnlyList<Checkpoint> Checkpoints() =>
            [
                .. JsonSerializer
                    .Deserialize<JsonElement>(File.ReadAllText(Folder.Path("checkpoints.json")))
                    .EnumerateArray()
                    .Select(c =>
                        Checkpoint.FromFile(
                            Folder.Path($"ckpt_e{c.GetProperty("epoch").GetInt32():D2}.safetensors"),
                            c.GetProperty("lr").GetDouble()
                        )
                    ),
            ];
    }
}
