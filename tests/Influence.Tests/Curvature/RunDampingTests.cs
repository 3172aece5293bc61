using Influence.Curvature;
using Influence.Estimators;
using Influence.Groups;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>The damping that the length of a run is, against its formula and against training again.</summary>
public sealed class RunDampingTests : IDisposable
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

    /// <summary>Rates 0.1, 0.3 at steps 4 and 10 with a momentum of 0.5: tau = 2 (4 x 0.1 + 6 x 0.2). The same arithmetic.</summary>
    [Fact]
    public void SgdIsDampedByTheSumOfItsRates()
    {
        using var optimizer = optim.SGD(_c.Model.parameters(), 0.1, 0.5);
        var first = Checkpoint.Save(_folder.Path("a"), _c.Model, optimizer, 4);
        optimizer.ParamGroups.Single().LearningRate = 0.3;
        var second = Checkpoint.Save(_folder.Path("b"), _c.Model, optimizer, 10);
        using var ekfac = Ekfac.Fit(_c.Task(), _c.Train);
        using var scores = new InfluenceFunction(ekfac) { Damping = Damping.OfRun([first, second]) }.Score(_c.Task(), _c.Train, _c.Queries);
        using var expected = new InfluenceFunction(ekfac) { Damping = Damping.Absolute(1 / 3.2) }.Score(_c.Task(), _c.Train, _c.Queries);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected.Values) < 1e-12);
        Assert.Contains("a run of SGD, momentum 0.5, 10 steps", scores.Metadata.Damping, StringComparison.Ordinal);
        Assert.Contains("the length of its run", scores.Metadata.Notes, StringComparison.Ordinal);
    }

    /// <summary>Weight by weight in a solver, and one number a layer in EK-FAC, by which v moves as far. The same arithmetic.</summary>
    [Fact]
    public void AdamsIsScaledByItsSecondMoments()
    {
        using var optimizer = optim.AdamW(_c.Model.parameters(), 0.02, 0.8, 0.95, 1e-6, 0.1);
        for (var step = 0; step < 4; step++)
        {
            optimizer.zero_grad();
            nn.functional.cross_entropy(_c.Model.call(_c.X), _c.Y).backward();
            optimizer.step();
        }

        var checkpoint = Checkpoint.Save(_folder.Path("adamw"), _c.Model, optimizer, 4);
        var states = ((TorchSharp.Modules.OptimizerHelper)optimizer).state_dict().State.Cast<TorchSharp.Modules.AdamW.State>();
        var v = cat([.. states.Select(s => (s.exp_avg_sq / (1 - Math.Pow(0.95, 4))).reshape(-1))]);
        var divisor = v.sqrt() + 1e-6;
        var each = divisor * ((1 / (4 * 0.02)) + 0.1);

        using var ekfac = Ekfac.Fit(_c.Task(), _c.Train);
        var expected = zeros([4, 11], dtype: float64);
        foreach (var (layer, start, count) in new[] { (0, 0, 30), (1, 30, 21) })
        {
            var (own, by) = (v.narrow(0, start, count), divisor.narrow(0, start, count));
            var number = (own.sum() / (own / by).sum() / (4 * 0.02)) + (by.mean() * 0.1);
            using var damped = new InfluenceFunction(ekfac)
            {
                Damping = Damping.Absolute(number.item<double>()),
                Tolerance = 0,
            }.ScoreLayers(_c.Task(), _c.Train, _c.Queries);
            expected.add_(damped[layer].Scores.Values);
        }

        var damping = Damping.OfRun([checkpoint]);
        using var scores = new InfluenceFunction(ekfac) { Damping = damping, Tolerance = 0 }.Score(_c.Task(), _c.Train, _c.Queries);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-10);

        using var solver = BlockConjugateGradient.Fit(_c.Task(), _c.Train, ekfac, new() { Tolerance = 1e-11, MaximumIterations = 200 });
        using var solved = new InfluenceFunction(solver) { Damping = damping }.Score(_c.Task(), _c.Train, _c.Queries);
        var (q, g) = (_c.QueryGradients(), _c.TrainGradients());
        using var session = Influence.Gradients.GradientSession.Open(_c.Task(), _c.Train, null);
        var layout = new ParameterVector(session);
        var h = new GaussNewtonProduct(session, layout).Over(_c.Train, eye(layout.Length, dtype: float64), default) + diag(each);
        var dense = q.mm(linalg.solve(h, g.t()));
        Assert.True(SingleExampleLoop.RelativeError(solved.Values, dense) < 1e-8);
    }

    /// <summary>A block of a diagonal has its eigenvalues in one tensor for each parameter.</summary>
    [Theory]
    [InlineData("diagonal Fisher")]
    [InlineData("EK-FAC")]
    public void KnownDirectionsAreOfAllEigenvalues(string method)
    {
        using var fit = LayerwiseMethods.FitLayerwise(method, _c.Task(), _c.Train);
        foreach (var block in fit.Blocks.OfType<BlockCurvature>())
        {
            var values = new List<double>();
            using var same = block.Map(eigenvalues =>
            {
                values.AddRange(eigenvalues.reshape(-1).data<double>().ToArray());
                return eigenvalues.clone();
            });
            Assert.Equal(block.Size, values.Count);
            Assert.Equal(values.Sum(value => value / (value + 0.01)), block.KnownDirections(0.01), 1e-9);
            Assert.Equal(values.Count(value => value > 0), block.KnownDirections(0));
        }
    }

    [Fact]
    public void ARunThatSaysTooLittleIsRefused()
    {
        using var optimizer = optim.SGD(_c.Model.parameters(), 0.1);
        var early = Checkpoint.Save(_folder.Path("early"), _c.Model, optimizer, 4);
        var late = Checkpoint.Save(_folder.Path("late"), _c.Model, optimizer, 8);
        var plain = Checkpoint.Save(_folder.Path("plain"), _c.Model, 0.1, 9);
        Assert.Contains(
            "steps 8, 4",
            Assert.Throws<InfluenceException>(() => Damping.OfRun([late, early])).Message,
            StringComparison.Ordinal
        );
        var start = Checkpoint.Save(_folder.Path("start"), _c.Model, optimizer, 0);
        Assert.NotNull(Damping.OfRun([start, early]).Decay);
        Assert.Throws<InfluenceException>(() => Damping.OfRun([start]));
        Assert.Contains("none", Assert.Throws<InfluenceException>(() => Damping.OfRun([])).Message, StringComparison.Ordinal);
        Assert.Contains("1 / tau", Assert.Throws<InfluenceException>(() => Damping.OfRun([plain])).Message, StringComparison.Ordinal);
        Assert.Contains(
            "Damping.OfRun belongs to a call",
            Assert.Throws<InfluenceException>(() => Ekfac.Fit(_c.Task(), _c.Train, new() { Damping = Damping.OfRun([early]) })).Message,
            StringComparison.Ordinal
        );

        using var head = optim.SGD(_c.Head.parameters(), 0.1);
        var half = Checkpoint.Save(_folder.Path("half"), _c.Model, head, 8);
        using var ekfac = Ekfac.Fit(_c.Task(), _c.Train);
        Assert.Contains(
            "did not train the parameter",
            Assert
                .Throws<InfluenceException>(() =>
                    new InfluenceFunction(ekfac) { Damping = Damping.OfRun([half]) }.Score(_c.Task(), _c.Train, _c.Queries)
                )
                .Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>
    /// A wide network, few examples and few small steps, as in fine-tuning: the default damping predicts that leaving out a group raises
    /// the loss by far more than it does, and says so. By the run's own the rises that were measured are on a line of slope about 1
    /// over those predicted: 1.2 here, with a half and 2 as what is left to a first order that has one number a layer for Adam's steps.
    /// </summary>
    [Fact]
    public void AShortRunPredictsRisesOfTheSizeOfThoseMeasured()
    {
        const int Steps = 12;
        random.manual_seed(5);
        var (x, test) = (randn([40, 12], dtype: float64), randn([60, 12], dtype: float64));
        var (y, answers) = (x.narrow(1, 0, 3).argmax(1), test.narrow(1, 0, 3).argmax(1));
        using var model = nn.Sequential(
            ("first", nn.Linear(12, 96, dtype: float64)),
            ("tanh", nn.Tanh()),
            ("second", nn.Linear(96, 96, dtype: float64)),
            ("tanh2", nn.Tanh()),
            ("head", nn.Linear(96, 3, dtype: float64))
        );
        var start = Checkpoint.Save(_folder.Path("start"), model, 0);
        using var recorder = new CheckpointRecorder(_folder.Path("run")) { EverySteps = 3 };
        var before = Train(ones([40], dtype: float64), recorder);
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var train = Examples.FromTensors(("x", x), ("y", y));
        var queries = Examples.FromTensors(("x", test), ("y", answers));
        long[] OfClass(long label) => [.. train.Ids.Where(id => y[id].item<long>() == label)];
        var groups = ExampleGroups.FromMembers([
            .. new long[] { 0, 1, 2 }.SelectMany(c =>
                new (string, IEnumerable<long>)[] { ($"class {c}", OfClass(c)), ($"some of class {c}", OfClass(c).Take(6)) }
            ),
        ]);
        var all = ExampleGroups.Of(queries.Ids, _ => "test");
        using var ekfac = Ekfac.Fit(task, train);
        var influence = new InfluenceFunction(ekfac);
        var (absurd, sound) = (Scores(influence), Scores(influence with { Damping = Damping.OfRun(recorder.Checkpoints) }));
        Assert.Contains("their scale does not", absurd.Metadata.Notes, StringComparison.Ordinal);
        Assert.Contains("Damping.OfRun", absurd.Metadata.Notes, StringComparison.Ordinal);
        Assert.DoesNotContain("their scale does not", sound.Metadata.Notes, StringComparison.Ordinal);
        double[] measured =
        [
            .. groups.Names.Select(name =>
                Train(tensor(train.Ids.Select(id => groups[name].Contains(id) ? 0.0 : 1.0).ToArray()), null) - before
            ),
        ];
        Assert.InRange(Slope(sound), 0.5, 2);
        Assert.True(Slope(absurd) < 0.1, $"{Slope(absurd)} of what the default damping predicts");

        GroupScores Scores(InfluenceFunction function) =>
            new GroupInfluence(function) { Blocks = 1 }.Score(task, train, groups, queries, all);

        double Slope(GroupScores scores)
        {
            double[] predicted = [.. measured.Select((_, k) => scores.Sum(0, k) / 40)];
            return predicted.Zip(measured, (p, m) => p * m).Sum() / predicted.Sum(p => p * p);
        }

        double Train(Tensor counts, CheckpointRecorder? record)
        {
            start.LoadInto(model);
            using var optimizer = optim.AdamW(model.parameters(), 1e-3);
            for (var step = 0; step < Steps; step++)
            {
                optimizer.zero_grad();
                (nn.functional.cross_entropy(model.call(x), y, reduction: nn.Reduction.None) * counts).sum().div(40).backward();
                optimizer.step();
                record?.Step(model, optimizer);
            }

            using var noGrad = no_grad();
            return nn.functional.cross_entropy(model.call(test), answers).item<double>();
        }
    }
}
