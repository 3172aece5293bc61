using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Groups;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>SOURCE, groups and LESS over checkpoints of Adam and AdamW, against dense matrices and loops of plain autograd in
/// float64.</summary>
public sealed class SourceOptimizerTests : IDisposable
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

    /// <summary>P 2, h 0.5, eta K 1, a query of 1 and a gradient of 3 on one example: 3.792723; a hundred steps of a hundredth give
    /// 3.803806.</summary>
    [Fact]
    public void AScalarByHand()
    {
        var root = Math.Sqrt(2);
        var (values, _, _) = SymmetricFunction.Of(
            x => x * (2 * 0.5),
            tensor(
                new[,]
                {
                    { root },
                }
            ),
            [x => (1 - Math.Exp(-x)) / x],
            9,
            1e-12
        );
        Assert.Equal(3.792723, values[0].item<double>() * root * 3, 6);
    }

    /// <summary>Rounding only, float64: the iteration is exact once it spans the whole space, and before that to 1e-11 of a
    /// change.</summary>
    [Theory]
    [InlineData(3)]
    [InlineData(40)]
    public void FunctionsOfAMatrix(int size)
    {
        random.manual_seed(3);
        var root = randn([size, size], dtype: float64);
        var (m, b) = (root.mm(root.t()), randn([5, size], dtype: float64));
        b[2] = zeros([size], dtype: float64);
        var (values, steps, _) = SymmetricFunction.Of(x => x.mm(m), b, [x => Math.Exp(-0.3 * x), x => 1 / (x + 1)], 100, 1e-11);
        AssertEqual(b.mm(linalg.matrix_exp(m * -0.3)), values[0], 1e-9);
        AssertEqual(b.mm(linalg.inv(m + eye(size, dtype: float64))), values[1], 1e-9);
        Assert.True(steps <= size);
    }

    /// <summary>
    /// The oracle knows nothing of Lanczos or of square roots of P: EK-FAC's matrix written out, matrix exponentials of -eta K (P C), and a
    /// solve. Float64: 1e-8 leaves room for the condition of P, whose entries range over four orders here.
    /// </summary>
    [Theory]
    [InlineData("Adam")]
    [InlineData("AdamW")]
    public void TwoSegmentsOfAdamAreThoseOfDenseMatrices(string kind)
    {
        var checkpoints = Train(kind, 8);
        var segments = Source.Segment.Split(checkpoints, 2);
        var options = new Ekfac.Options { Fisher = Fisher.Empirical };
        var source = new Source(segments) { Direction = TracIn.UpdateDirection.Optimizer, Curvature = options };
        using var scores = source.Score(_c.Task(), _c.Train, _c.Queries);

        checkpoints[^1].LoadInto(_c.Model);
        var q = _c.QueryGradients();
        var expected = zeros([4, 11], dtype: float64);
        foreach (var segment in segments.Reverse())
        {
            var h = Ekfacs(segment.Checkpoints, options);
            var p = diag(Scale(segment.Checkpoints));
            var eye = torch.eye(h.shape[0], dtype: float64);
            var (rate, decay) = (0.02 * segment.Steps, 0.1);
            var flow = kind == "Adam" ? p.mm(h + (eye * decay)) : p.mm(h) + (eye * decay);
            var propagator = linalg.matrix_exp(flow * -rate);
            var response = linalg.solve(flow, (eye - propagator).mm(p));
            expected += q.mm(response).mm(MeanGradients(segment.Checkpoints).t());
            q = q.mm(propagator);
        }

        AssertEqual(expected, scores.Values, 1e-8);
        Assert.Contains($"made by {kind}", scores.Metadata.Checkpoints, StringComparison.Ordinal);
        Assert.Contains("optimizer's direction", scores.Metadata.Estimator, StringComparison.Ordinal);
        Assert.DoesNotContain("SGD", scores.Metadata.Notes, StringComparison.Ordinal);
        using var plain = (source with { Direction = TracIn.UpdateDirection.Sgd }).Score(_c.Task(), _c.Train, _c.Queries);
        Assert.Contains($"made by {kind}, the formula is SGD's", plain.Metadata.Notes, StringComparison.Ordinal);
    }

    /// <summary>The published form by dense matrices: the mask of the diagonal first, then the damped inverse.</summary>
    [Fact]
    public void TheDiagonalFormIsThePublishedOne()
    {
        var checkpoints = Train("AdamW", 6);
        var segments = Source.Segment.Split(checkpoints, 2);
        var options = new Ekfac.Options { Fisher = Fisher.Empirical, Damping = Damping.Absolute(0.03) };
        using var scores = new Source(segments)
        {
            Direction = TracIn.UpdateDirection.Optimizer,
            Propagate = Source.Approximation.Diagonal,
            Curvature = options,
        }.Score(_c.Task(), _c.Train, _c.Queries);

        checkpoints[^1].LoadInto(_c.Model);
        var q = _c.QueryGradients();
        var expected = zeros([4, 11], dtype: float64);
        foreach (var segment in segments.Reverse())
        {
            var h = Ekfacs(segment.Checkpoints, options);
            var kept = (((h.diag() * Scale(segment.Checkpoints)) + 0.1) * (-0.02 * segment.Steps)).exp();
            var inverse = linalg.inv(h + (torch.eye(h.shape[0], dtype: float64) * 0.03));
            expected += (q * (1 - kept)).mm(inverse).mm(MeanGradients(segment.Checkpoints).t());
            q *= kept;
        }

        AssertEqual(expected, scores.Values, 1e-9);
        Assert.Contains("0.03 absolute", scores.Metadata.Damping, StringComparison.Ordinal);
    }

    /// <summary>Every kind of block has a diagonal: that of its matrix written out, by one unit vector after another.</summary>
    [Theory]
    [InlineData("conv2d grouped")]
    [InlineData("tied embedding and head")]
    [InlineData("batch norm eval")]
    [InlineData("attention causal")]
    [InlineData("conv2d")]
    public void DiagonalsOfEveryKindOfBlock(string name)
    {
        var model = Cases.Make(name);
        var train = Examples.FromTensors(model.Inputs(6));
        using var ekfac = Ekfac.Fit(model.Task(), train, new Ekfac.Options { Fisher = Fisher.Empirical });
        using var session = GradientSession.Open(model.Task(), train, null);
        var checkedBlocks = 0;
        foreach (var (block, parts) in ekfac.Blocks.Zip(session.Parts))
        {
            if (block is null || block.Size > 700)
            {
                continue;
            }

            using var same = block.Map(e => e.clone());
            var units = torch.eye(block.Size, dtype: session.Dtype);
            var at = 0L;
            var cut = parts.Select(p => units.narrow(1, (at += p.Count) - p.Count, p.Count)).ToArray();
            var whole = cat(same.Dense(new DenseGradients(block.Size, () => [.. cut.Select(c => c.clone())])), 1);
            AssertEqual(whole.diag(), cat(block.Diagonal(parts.Count > 1), 0), 1e-9);
            checkedBlocks++;
        }

        Assert.True(checkedBlocks > 0);
    }

    [Fact]
    public void SgdInTheOptimizersDirectionIsSource()
    {
        var checkpoints = Train("SGD", 6);
        var source = new Source(Source.Segment.Split(checkpoints, 2)) { Curvature = new() { Fisher = Fisher.Empirical } };
        using var plain = source.Score(_c.Task(), _c.Train, _c.Queries);
        using var own = (source with { Direction = TracIn.UpdateDirection.Optimizer }).Score(_c.Task(), _c.Train, _c.Queries);
        AssertEqual(plain.Values, own.Values, 1e-8);
    }

    [Fact]
    public void WhatDoesNotFitIsRefused()
    {
        var segments = Source.Segment.Split(Train("AdamW", 4), 2);
        Refused(new Source(segments) { Direction = TracIn.UpdateDirection.Less }, "that of one step");
        Refused(new Source(segments) { Direction = TracIn.UpdateDirection.Optimizer, Momentum = 0.9 }, "Leave Momentum out");
        var plain = Checkpoint.Save(_folder.Path("plain"), _c.Model, 0.1, 5);
        Refused(new Source([new([plain], 5)]) { Direction = TracIn.UpdateDirection.Optimizer }, "holds none");

        void Refused(Source source, string why) =>
            Assert.Contains(
                why,
                Assert.Throws<InfluenceException>(() => source.Score(_c.Task(), _c.Train, _c.Queries)).Message,
                StringComparison.Ordinal
            );
    }

    /// <summary>Against the summed rows of single scores; rounding only.</summary>
    [Fact]
    public void GroupsInTheOptimizersDirection()
    {
        var tracIn = new TracIn { Checkpoints = Train("AdamW", 6), Direction = TracIn.UpdateDirection.Optimizer };
        var groups = ExampleGroups.FromMembers(("a", [0L, 2, 4]), ("b", [1L, 3, 5, 6, 7, 8, 9, 10]));
        var grouped = new GroupInfluence(tracIn).Score(_c.Task(), _c.Train, groups, _c.Queries);
        using var single = tracIn.Score(_c.Task(), _c.Train, _c.Queries);
        for (var row = 0; row < 4; row++)
        {
            Assert.Equal(groups["a"].Sum(id => (double)single[row, (int)id]), grouped.Sum(row, 0), 1e-9);
            Assert.Equal(groups["b"].Sum(id => (double)single[row, (int)id]), grouped.Sum(row, 1), 1e-9);
        }

        Assert.Contains(
            "not linear",
            Assert.Throws<InfluenceException>(() => new GroupInfluence(tracIn with { Direction = TracIn.UpdateDirection.Less })).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>A loop of plain autograd with moments from the optimizer's own state; rounding only.</summary>
    [Theory]
    [InlineData(TracIn.UpdateDirection.Less, TracIn.GradientSimilarity.Cosine)]
    [InlineData(TracIn.UpdateDirection.Less, TracIn.GradientSimilarity.Dot)]
    [InlineData(TracIn.UpdateDirection.LessCode, TracIn.GradientSimilarity.Cosine)]
    public void LessIsThatOfALoop(TracIn.UpdateDirection direction, TracIn.GradientSimilarity similarity)
    {
        var expected = zeros([4, 11], dtype: float64);
        var checkpoints = Train(
            "AdamW",
            2,
            states =>
            {
                var (f, g) = (_c.QueryGradients(), _c.TrainGradients());
                var (m, v, t) = (Flat(states, s => s.exp_avg), Flat(states, s => s.exp_avg_sq), states[0].step + 1);
                var step =
                    direction == TracIn.UpdateDirection.LessCode
                        ? ((m * 0.9) + (g * 0.1)) / ((v * 0.999) + (g * g * 0.001) + 1e-8).sqrt()
                        : ((m * 0.8) + (g * 0.2))
                            / (1 - Math.Pow(0.8, t))
                            / ((((v * 0.95) + (g * g * 0.05)) / (1 - Math.Pow(0.95, t))).sqrt() + 1e-6);
                if (similarity == TracIn.GradientSimilarity.Cosine)
                {
                    (f, step) = (f / f.norm(1, keepdim: true), step / step.norm(1, keepdim: true));
                }

                expected.add_(f.mm(step.t()), direction == TracIn.UpdateDirection.LessCode ? 0.5 : 0.02);
            }
        );
        var tracIn = new TracIn
        {
            Checkpoints = checkpoints,
            Direction = direction,
            Similarity = similarity,
        };
        using var scores = tracIn.Score(_c.Task(), _c.Train with { BatchSize = 4 }, _c.Queries with { BatchSize = 3 });
        AssertEqual(expected, scores.Values, 1e-10);
        Assert.Equal(
            similarity == TracIn.GradientSimilarity.Cosine,
            scores.Metadata.Estimator.StartsWith("LESS", StringComparison.Ordinal)
        );
        Assert.Throws<InfluenceException>(() => tracIn.SelfInfluence(_c.Task(), _c.Train));
    }

    /// <summary>Two weights by hand: m 0.1, v (0.04, 0.01), g (1, -2), step 10.</summary>
    [Fact]
    public void LessByHand()
    {
        static double Less(double v, double g) =>
            ((0.9 * 0.1) + (0.1 * g)) / (1 - Math.Pow(0.9, 11)) / Math.Sqrt(((0.999 * v) + (0.001 * g * g)) / (1 - Math.Pow(0.999, 11)));
        static double Code(double v, double g) => ((0.9 * 0.1) + (0.1 * g)) / Math.Sqrt((0.999 * v) + (0.001 * g * g) + 1e-8);

        // The formulas of the loop above, on the published numbers.
        Assert.Equal(
            (0.143133, -0.141792, 0.938801, -0.930002),
            (Round(Less(0.04, 1)), Round(Less(0.01, -2)), Round(Code(0.04, 1)), Round(Code(0.01, -2)))
        );
        static double Round(double x) => Math.Round(x, 6);
    }

    private static Tensor Flat(IReadOnlyList<AdamW.State> states, Func<AdamW.State, Tensor> of) =>
        cat([.. states.Select(s => of(s).reshape(-1))]);

    /// <summary>A few steps on all examples, a checkpoint after each second one.</summary>
    private IReadOnlyList<Checkpoint> Train(string kind, int steps, Action<IReadOnlyList<AdamW.State>>? each = null)
    {
        using optim.Optimizer optimizer = kind switch
        {
            "AdamW" => optim.AdamW(_c.Model.parameters(), 0.02, 0.8, 0.95, 1e-6, 0.1),
            "Adam" => optim.Adam(_c.Model.parameters(), 0.02, 0.8, 0.95, 1e-6, 0.1),
            _ => optim.SGD(_c.Model.parameters(), 0.02, momentum: 0.5, weight_decay: 0.1),
        };
        var checkpoints = new List<Checkpoint>();
        for (var step = 1; step <= steps; step++)
        {
            using var scope = NewDisposeScope();
            optimizer.zero_grad();
            nn.functional.cross_entropy(_c.Model.call(_c.X), _c.Y).backward();
            optimizer.step();
            if (step % 2 == 0 || each is not null)
            {
                checkpoints.Add(Checkpoint.Save(_folder.Path($"{kind}-{step}.safetensors"), _c.Model, optimizer, step));
                each?.Invoke([.. ((OptimizerHelper)optimizer).state_dict().State.Cast<AdamW.State>()]);
            }
        }

        return checkpoints;
    }

    private Tensor Scale(IReadOnlyList<Checkpoint> checkpoints)
    {
        string[] names = ["hidden.weight", "hidden.bias", "head.weight", "head.bias"];
        var v = stack([
                .. checkpoints.Select(c =>
                {
                    using var file = Influence.Formats.SafetensorsFile.Open(c.FilePath);
                    return cat([
                        .. names.Select(name => file.Read($"influence.exp_avg_sq:{name}").reshape(-1) / (1 - Math.Pow(0.95, c.Step))),
                    ]);
                }),
            ])
            .mean([0L]);
        return 1 / (v.sqrt() + 1e-6);
    }

    private Tensor MeanGradients(IReadOnlyList<Checkpoint> checkpoints) =>
        stack([
                .. checkpoints.Select(c =>
                {
                    c.LoadInto(_c.Model);
                    return _c.TrainGradients();
                }),
            ])
            .mean([0L]);

    /// <summary>EK-FAC of several checkpoints as one matrix, by the textbook: factors averaged over both, eigenvalues along their
    /// eigenvectors.</summary>
    private Tensor Ekfacs(IReadOnlyList<Checkpoint> checkpoints, Ekfac.Options options)
    {
        using var session = GradientSession.Open(_c.Task(), _c.Train, null);
        checkpoints[0].LoadInto(_c.Model);
        using var reporter = new ProgressReporter(null, "test", 1, 11, CancellationToken.None);
        var blocks = LayerwiseFit.Run(
            session,
            _c.Train,
            options,
            CurvatureKind.Ekfac,
            reporter,
            checkpoints.Count,
            c => checkpoints[c].LoadInto(_c.Model)
        );
        var size = session.Parts.Sum(parts => parts.Sum(p => p.Count));
        var h = zeros([size, size], dtype: float64);
        var start = 0L;
        foreach (var (block, parts) in blocks.Zip(session.Parts))
        {
            using var same = block!.Map(e => e.clone());
            var units = torch.eye(block.Size, dtype: float64);
            var at = 0L;
            var cut = parts.Select(p => units.narrow(1, (at += p.Count) - p.Count, p.Count)).ToArray();
            h.narrow(0, start, block.Size)
                .narrow(1, start, block.Size)
                .copy_(cat(same.Dense(new DenseGradients(block.Size, () => [.. cut.Select(c => c.clone())])), 1));
            start += block.Size;
            block.Dispose();
        }

        return h;
    }

    private static void AssertEqual(Tensor expected, Tensor actual, double relative)
    {
        var error = ((expected - actual).abs().max() / expected.abs().max()).item<double>();
        Assert.True(error < relative, $"relative error {error}");
    }
}
