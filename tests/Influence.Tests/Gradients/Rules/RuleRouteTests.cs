using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Gradients;

/// <summary>Which way each layer's gradients are taken; that they are right is the oracle models' affair.</summary>
public class RuleRouteTests
{
    public static TheoryData<string> ByRule => [.. LayerCases.ByRule];

    public static TheoryData<string> BySingleExamples => [.. LayerCases.BySingleExamples];

    [Theory]
    [MemberData(nameof(ByRule))]
    public void LayersWithARuleTakeOnePass(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var coverage = made.Task().Coverage(Examples.FromTensors(made.Inputs(4)));
        Assert.True(coverage.BySingleExamples == 0, coverage.ToString());
    }

    [Theory]
    [MemberData(nameof(BySingleExamples))]
    public void OthersTakeAPassForEachExampleAndSaySo(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var coverage = made.Task().Coverage(Examples.FromTensors(made.Inputs(4)));
        Assert.True(coverage.BySingleExamples > 0, coverage.ToString());
        Assert.All(coverage.Parameters.Where(p => p.Method == "single examples"), p => Assert.NotEmpty(p.Note));
    }

    /// <summary>A transposed linear layer without a bias is a linear one with the weight transposed, also for K-FAC and EK-FAC of padded
    /// batches.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void TransposedLinearHasTheCurvatureOfLinear(bool corrected, bool masked)
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(3);
        var (linear, transposed) = Pair();
        var (train, queries) = (Inputs(9), Inputs(4));
        Assert.True(SingleExampleLoop.RelativeError(Scores(transposed), Scores(linear)) < 1e-10);

        // Padding is larger than the data.
        static Tensor[] Inputs(long n)
        {
            var counts = rand([n, 4]) < 0.6;
            return [randn([n, 4, 5], dtype: float64) * where(counts, 1.0, 5.0).unsqueeze(2), randn([n, 4, 3], dtype: float64), counts];
        }

        Tensor Scores(nn.Module<Tensor, Tensor> model)
        {
            var task = new InfluenceTask(model)
            {
                TrainingLoss = b => ((model.call(b[0]) - b[1]).Squared().sum(2) * b[2].to_type(float64)).sum(1),
                PositionMask = masked ? b => b[2] : null,
            };
            var options = new Ekfac.Options { Fisher = Fisher.Empirical };
            using Preconditioner fit = corrected
                ? Ekfac.Fit(task, Examples.FromTensors(train), options)
                : Kfac.Fit(task, Examples.FromTensors(train), options);
            return new InfluenceFunction(fit) { Tolerance = 0 }
                .Score(task, Examples.FromTensors(train), Examples.FromTensors(queries))
                .Values;
        }
    }

    /// <summary>The gradient of a norm at zero is no number: the fit says so of either layer in the same words.</summary>
    [Fact]
    public void AGradientThatIsNoNumberIsToldOfATransposedWeightToo()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(5);
        var (linear, transposed) = Pair();
        var x = randn([6, 4, 5], dtype: float64);
        x[3].zero_();

        Assert.Equal(Message(linear), Message(transposed));

        string Message(nn.Module<Tensor, Tensor> model)
        {
            var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b[0]).Squared().sum(1, 2).sqrt() };
            return Assert
                .Throws<InfluenceException>(() =>
                {
                    using var fit = Kfac.Fit(task, Examples.FromTensors(x), new Kfac.Options { Fisher = Fisher.Empirical });
                })
                .Message;
        }
    }

    [Theory]
    [InlineData(0, 3)]
    [InlineData(3, 0)]
    public void ATransposedLinearLayerHasInputsAndOutputs(long inputs, long outputs) =>
        Assert.Contains("at least one", Assert.Throws<InfluenceException>(() => new TransposedLinear(inputs, outputs)).Message);

    private static (nn.Module<Tensor, Tensor> Linear, nn.Module<Tensor, Tensor> Transposed) Pair()
    {
        var (linear, transposed) = (
            nn.Linear(5, 3, hasBias: false, dtype: float64),
            new TransposedLinear(5, 3, hasBias: false, dtype: float64)
        );
        using var noGrad = no_grad();
        transposed.get_parameter("weight")!.copy_(linear.weight.t());
        return (linear, transposed);
    }

    /// <summary>Losses of one's own go through the task's delegate: each is what it is for one example alone.</summary>
    [Theory]
    [InlineData("label smoothing")]
    [InlineData("class weights")]
    [InlineData("ignored targets")]
    public void LossesOfCrossEntropysOptionsAreExact(string option)
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(4);
        var model = nn.Sequential(nn.Linear(5, 6, dtype: float64), nn.Tanh(), nn.Linear(6, 4, dtype: float64));
        var weights = option == "class weights" ? tensor(new[] { 0.5, 2.0, 1.0, 3.0 }) : null;
        var smoothing = option == "label smoothing" ? 0.2 : 0;
        Tensor Loss(Tensor[] t)
        {
            var logits = model.call(t[0]).reshape(-1, 4); // [B*T, C]
            return F.cross_entropy(
                    logits,
                    t[1].reshape(-1),
                    weights,
                    ignore_index: -100,
                    reduction: nn.Reduction.None,
                    label_smoothing: smoothing
                )
                .reshape(t[0].shape[0], -1)
                .sum(1);
        }

        var (train, queries) = (Inputs(9), Inputs(4));
        var task = new InfluenceTask(model) { TrainingLoss = b => Loss([b[0], b[1]]) };
        var (g, q) = (SingleExampleLoop.Gradients(model, Loss, train), SingleExampleLoop.Gradients(model, Loss, queries));
        using var scores = new TracIn().Score(task, Examples.FromTensors(train), Examples.FromTensors(queries));
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, q.mm(g.t())) < 1e-10);

        Tensor[] Inputs(long n)
        {
            var targets = randint(0, 4, [n, 3]);
            return
            [
                randn([n, 3, 5], dtype: float64),
                option == "ignored targets" ? targets.masked_fill(rand([n, 3]) < 0.3, -100) : targets,
            ];
        }
    }
}
