using Influence.Curvature;
using Influence.Estimators;
using Influence.Formats;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>
/// K-FAC and EK-FAC of attention's projections: grouped queries, rotation, causal and padding masks; an input covariance
/// that q, k and v have in common.
/// </summary>
public sealed class AttentionTests : IDisposable
{
    /// <summary>Float64, and the dense inverse of a damped matrix.</summary>
    private const double Algebra = 1e-8;

    private readonly DisposeScope _scope = NewDisposeScope();

    public static TheoryData<bool, bool> Both =>
        new()
        {
            { false, true },
            { false, false },
            { true, true },
            { true, false },
        };

    public void Dispose() => _scope.Dispose();

    /// <summary>Padded batches with a mask of positions, against each sequence alone and unpadded, by dense algebra.</summary>
    [Theory]
    [MemberData(nameof(Both))]
    public void ProjectionsEqualTheDenseInverse(bool groupedQuery, bool measured)
    {
        var (made, inputs) = Make(groupedQuery);
        var unpadded = Unpadded(inputs);
        var oracle = new KroneckerOracle(made.Trace, made.Model, made.Loss, unpadded);
        var expected = oracle.Scores(measured, mean => 0.1 * mean, made.Model, made.Loss, unpadded);
        var examples = Examples.FromTensors(inputs) with { BatchSize = 4 };
        var task = Task(made, LayerSelection.Where(AttentionCases.IsTraced));
        using LayerwisePreconditioner fit = measured
            ? Ekfac.Fit(task, examples, LayerwiseMethods.Empirical)
            : Kfac.Fit(task, examples, LayerwiseMethods.Empirical);
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(task, examples, examples);

        Assert.Equal(["q", "k", "v", "o", "head"], oracle.Layers);
        var error = SingleExampleLoop.RelativeError(scores.Values, expected);
        Assert.True(error < Algebra, $"relative error {error:E2}");
    }

    /// <summary>What sees the same input has its covariance once, in memory and in the file, before and after loading.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void OneInputCovarianceForQueriesKeysAndValues(bool groupedQuery)
    {
        using var folder = new TempFolder();
        var (made, inputs) = Make(groupedQuery);
        using var fit = Ekfac.Fit(Task(made), Examples.FromTensors(inputs), LayerwiseMethods.Empirical);
        var path = folder.Path("fit.safetensors");
        fit.Save(path);
        using var loaded = Ekfac.Load(path);

        foreach (var preconditioner in new[] { fit, loaded })
        {
            var blocks = preconditioner.Blocks.OfType<KroneckerCurvature>().ToDictionary(b => b.Name.Split('.')[0]);
            Assert.Same(blocks["q"].Input, blocks["k"].Input);
            Assert.Same(blocks["q"].Input, blocks["v"].Input);
            Assert.NotSame(blocks["q"].Input, blocks["o"].Input);
            Assert.NotSame(blocks["q"].Input, blocks["head"].Input);
        }

        // Of the five linear layers, q, o and the head bring an input each.
        var inputsInFile = Safetensors.Load(path).Tensors.Keys.Where(name => name.EndsWith("input.values", StringComparison.Ordinal));
        Assert.Equal(3, inputsInFile.Count());
    }

    /// <summary>Sharing saves work and changes nothing: each layer fitted on its own gives its own share.</summary>
    [Theory]
    [MemberData(nameof(Both))]
    public void EachLayerAloneGivesItsShare(bool groupedQuery, bool measured)
    {
        var (made, inputs) = Make(groupedQuery);
        var examples = Examples.FromTensors(inputs);
        using var fit = Fit(Task(made));
        using var layers = new InfluenceFunction(fit) { Tolerance = 0 }.ScoreLayers(Task(made), examples, examples);
        Assert.Equal(7, layers.Count);

        foreach (var (parameters, shares) in layers)
        {
            var task = Task(made, LayerSelection.Where(parameters.Split(", ").Contains));
            using var alone = Fit(task);
            using var scores = new InfluenceFunction(alone) { Tolerance = 0 }.Score(task, examples, examples);
            Assert.True(SingleExampleLoop.RelativeError(shares.Values, scores.Values) < 1e-10, parameters);
        }

        LayerwisePreconditioner Fit(InfluenceTask task) =>
            measured ? Ekfac.Fit(task, examples, LayerwiseMethods.Empirical) : Kfac.Fit(task, examples, LayerwiseMethods.Empirical);
    }

    /// <summary>
    /// Layers of one position share their input too, whether all batches wait for each other or, with little memory, none does.
    /// </summary>
    [Theory]
    [InlineData(1L << 30)]
    [InlineData(10_000L)]
    public void HeadsOnOneInputShareIt(long memory)
    {
        random.manual_seed(93);
        var (body, left, right) = (nn.Linear(3, 4, dtype: float64), nn.Linear(4, 2, dtype: float64), nn.Linear(4, 3, dtype: float64));
        var model = new Composite(
            x =>
            {
                var h = body.call(x).tanh();
                return cat([left.call(h), right.call(h)], 1);
            },
            ("body", body),
            ("left", left),
            ("right", right)
        );
        model.eval();
        var examples = Examples.FromTensors(randn([11, 3], dtype: float64), randn([11, 5], dtype: float64)) with { BatchSize = 4 };
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.SquaredError(model.call(b[0]), b[1]) };
        using var fit = Ekfac.Fit(task, examples, LayerwiseMethods.Empirical with { MemoryBudget = memory });

        var blocks = fit.Blocks.Cast<KroneckerCurvature>().ToDictionary(b => b.Name.Split('.')[0]);
        Assert.Same(blocks["left"].Input, blocks["right"].Input);
        Assert.NotSame(blocks["body"].Input, blocks["left"].Input);
    }

    private static (TracedModel Made, Tensor[] Inputs) Make(bool groupedQuery)
    {
        random.manual_seed(groupedQuery ? 91 : 92);
        var made = groupedQuery ? AttentionCases.GroupedQuery() : AttentionCases.Causal();
        made.Model.eval();
        return (made, made.Inputs(10));
    }

    private static InfluenceTask Task(TracedModel made, LayerSelection? layers = null) =>
        new(made.Model)
        {
            TrainingLoss = b => made.Loss([b[0], b[1]]),
            Layers = layers ?? LayerSelection.All,
            PositionMask = b => b[0].ne(0),
        };

    private static List<Tensor[]> Unpadded(Tensor[] inputs) =>
        [.. TracedModel.One(inputs).Select(one => one.Select(t => t.narrow(1, 0, one[0].ne(0).sum().item<long>())).ToArray())];
}
