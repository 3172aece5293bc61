using Influence.Recipes;
using Influence.Scorers;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Recipes;

/// <summary>A module of one's own over token ids that learns influence.</summary>
public sealed class ModuleRegressionTests : IDisposable
{
    private const int Words = 12;
    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    /// <summary>The influence is how often a word occurs, whatever its number: a sum over embeddings finds it, no line through the numbers
    /// does.</summary>
    [Fact]
    public void WordsAreLearntFromTheirIds()
    {
        var (examples, measured) = Texts();
        using var counter = new Counter();
        var regression = new ModuleRegression(counter) { Epochs = 60, Optimizer = p => optim.AdamW(p, 0.03) };
        using var fit = DataInfluenceModel.Fit(measured, examples, InfluenceFeatures.AsGiven(b => b["tokens"]), regression);
        using var ridge = DataInfluenceModel.Fit(measured, examples, InfluenceFeatures.Of(b => b["tokens"]));
        Assert.True(fit.HeldOutCorrelation > 0.95, $"{fit.HeldOutCorrelation}");
        Assert.True(ridge.HeldOutCorrelation < 0.6, $"{ridge.HeldOutCorrelation}");
        Assert.True(counter.training);
        Assert.Equal(measured.Ids, fit.Predict(examples).Ids);
    }

    /// <summary>Two epochs are not enough for a new module, and are for one that has learnt before.</summary>
    [Fact]
    public void ALaterFitBeginsWhereTheLastOneEnded()
    {
        var (examples, measured) = Texts();
        using var warm = new Counter();
        using var cold = new Counter();
        Fit(warm, 60).Dispose();
        using var second = Fit(warm, 2);
        using var first = Fit(cold, 2);
        Assert.True(second.HeldOutCorrelation > 0.95, $"{second.HeldOutCorrelation}");
        Assert.True(second.HeldOutCorrelation > first.HeldOutCorrelation + 0.05, $"{first.HeldOutCorrelation}");

        DataInfluenceModel Fit(Counter module, int epochs) =>
            DataInfluenceModel.Fit(
                measured,
                examples,
                InfluenceFeatures.AsGiven(b => b["tokens"]),
                new ModuleRegression(module) { Epochs = epochs, Optimizer = p => optim.AdamW(p, 0.03) }
            );
    }

    /// <summary>Probes of a classifier of texts, and scores of all texts by the module.</summary>
    [Fact]
    public void MatesTakesAModule()
    {
        var (examples, _) = Texts();
        using var model = new Counter();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.SquaredError(model.call(b["tokens"]), b["value"]) };
        model.eval();
        using var counter = new Counter();
        var mates = new Mates(InfluenceFeatures.AsGiven(b => b["tokens"]))
        {
            Regression = new ModuleRegression(counter) { Epochs = 20, Optimizer = p => optim.AdamW(p, 0.03) },
            Probes = 60,
        };
        var found = mates.Score(task, examples, examples.Only([.. examples.Ids.Take(20)]), m => optim.SGD(m.parameters(), 0.01));
        Assert.Equal(examples.Count, found.Scores.Count);
        Assert.Contains("inputs as they are", found.Description, StringComparison.Ordinal);
    }

    /// <summary>At a rate that ruins every epoch the module is as it was, its running statistics too.</summary>
    [Fact]
    public void StatisticsBelongToTheEpochThatIsKept()
    {
        var (examples, measured) = Texts();
        using var norm = nn.Sequential(nn.BatchNorm1d(8, dtype: float64), nn.Linear(8, 1, dtype: float64));
        var before = norm.state_dict().Values.Select(v => v.to_type(float64).data<double>().ToArray()).ToList();
        var ruinous = new ModuleRegression(norm) { Epochs = 2, Optimizer = p => optim.SGD(p, 1e6) };
        DataInfluenceModel.Fit(measured, examples, InfluenceFeatures.AsGiven(b => b["tokens"]), ruinous).Dispose();
        Assert.Equal(before, norm.state_dict().Values.Select(v => v.to_type(float64).data<double>().ToArray()).ToList());
    }

    [Fact]
    public void BadModulesAreRefused()
    {
        using var frozen = new Counter();
        foreach (var parameter in frozen.parameters())
        {
            parameter.requires_grad = false;
        }

        Assert.Contains("no trainable", Refused(() => new ModuleRegression(frozen)), StringComparison.Ordinal);
        var (examples, measured) = Texts();
        using var wide = nn.Linear(8, 3, dtype: float64);
        var message = Refused(() =>
            DataInfluenceModel.Fit(measured, examples, InfluenceFeatures.AsGiven(b => b["tokens"]), new ModuleRegression(wide))
        );
        Assert.Contains("one number an example", message, StringComparison.Ordinal);

        static string Refused(Func<object> act) => Assert.Throws<InfluenceException>(act).Message;
    }

    private static (Examples Examples, ExampleScores Measured) Texts()
    {
        random.manual_seed(4);
        var tokens = randint(0, Words, [160, 8]);
        var value = tokens.eq(7).sum(1).to_type(float64) - tokens.eq(2).sum(1).to_type(float64);
        var examples = Examples.FromTensors(("tokens", tokens), ("value", value)) with { BatchSize = 32 };
        return (examples, ExampleScores.Of(examples.Ids, value.data<double>().ToArray()));
    }

    private sealed class Counter : nn.Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Embedding words;
        private readonly TorchSharp.Modules.Linear head;

        public Counter()
            : base("counter")
        {
            random.manual_seed(1);
            words = nn.Embedding(Words, 8, dtype: float64);
            head = nn.Linear(8, 1, dtype: float64);
            RegisterComponents();
        }

        public override Tensor forward(Tensor tokens) => head.call(words.call(tokens.to_type(ScalarType.Int64)).mean([1L])).squeeze(1);
    }
}
