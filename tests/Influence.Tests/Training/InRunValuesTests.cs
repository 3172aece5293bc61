using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

/// <summary>In-run values against the fixture, against loops over single examples, and against enumerated Shapley values.</summary>
public class InRunValuesTests
{
    // Sums in another order: a few hundred float64 roundings.
    private const double Rounding = 1e-10;

    /// <summary>A model of two weights w whose training losses are g_i . w and whose validation loss is quadratic in w.</summary>
    private sealed class Plane
    {
        private readonly Linear _weights = nn.Linear(2, 1, hasBias: false, dtype: float64);
        private readonly double[] _gradient;
        private readonly double[] _curvature;

        public Plane(double[] gradient, double[] curvature, double[]? at = null)
        {
            (_gradient, _curvature) = (gradient, curvature);
            using var noGrad = no_grad();
            _weights.weight.copy_(tensor(at ?? [0, 0]).reshape(1, 2));
        }

        public InfluenceTask Task =>
            new(_weights) { TrainingLoss = b => (Weights(b["x"]) * b["g"]).sum(1), Measurement = b => Validation(Weights(b["x"])) };

        public double ValidationAt(double[] weights) => Validation(tensor(weights).unsqueeze(0)).item<double>();

        /// <summary>Examples with these gradients; one row of the identity for each weight makes the weights the outputs.</summary>
        public static ExampleBatch Batch(double[][] gradients) =>
            ExampleBatch.Of(
                [.. gradients.Select((_, i) => (long)i)],
                ("x", eye(2, dtype: float64).unsqueeze(0).repeat(gradients.Length, 1, 1)),
                ("g", stack([.. gradients.Select(g => tensor(g))], 0))
            );

        private Tensor Weights(Tensor x) => _weights.call(x).squeeze(-1);

        private Tensor Validation(Tensor w) => ((w * tensor(_gradient)) + (w.Squared() * tensor(_curvature) * 0.5)).sum(1);
    }

    [Theory]
    [InlineData(InRunValues.Expansion.First, new[] { 0.1, -0.05, 0.05 })]
    [InlineData(InRunValues.Expansion.Second, new[] { 0.08, -0.06, 0.02 })]
    public void TheFixtureGivesTheSheetsNumbers(InRunValues.Expansion order, double[] expected)
    {
        using var scope = NewDisposeScope();
        var plane = new Plane([1, -0.5], [2, 1]);
        var batch = Plane.Batch([
            [1, 0],
            [0, 1],
            [1, 1],
        ]);
        using var loop = TrainingGradients.Open(plane.Task, batch, batch);
        using var step = loop.Step(batch, batch);
        step.Accumulate(ones(3, dtype: float64));
        var values = new InRunValues { Order = order };

        values.Add(step, 0.1);

        // The sheet's sign is the other one: its first is -0.1. Float64 rounding of a few operations.
        var scores = values.Scores();
        Assert.All(expected.Zip(scores.Values), pair => Assert.Equal(pair.First, pair.Second, 14));
        if (order == InRunValues.Expansion.Second)
        {
            Assert.Equal(plane.ValidationAt([0, 0]) - plane.ValidationAt([-0.2, -0.2]), scores.Values.Sum(), 14);
            Assert.Equal(0.04, scores.Values.Sum(), 14);
        }
    }

    [Fact]
    public void SecondOrderIsTheShapleyValueOverAllPermutations()
    {
        using var scope = NewDisposeScope();
        var draws = new Random(5);
        double[] Pair() => [(2 * draws.NextDouble()) - 1, (2 * draws.NextDouble()) - 1];
        for (var trial = 0; trial < 5; trial++)
        {
            var (at, gradients, weights) = (
                Pair(),
                Enumerable.Range(0, 4).Select(_ => Pair()).ToArray(),
                Enumerable.Range(0, 4).Select(_ => draws.NextDouble()).ToArray()
            );
            var plane = new Plane(Pair(), [draws.NextDouble(), -draws.NextDouble()], at);
            var batch = Plane.Batch(gradients);
            using var loop = TrainingGradients.Open(plane.Task, batch, batch);
            using var step = loop.Step(
                batch,
                Plane.Batch([
                    [0, 0],
                    [1, 1],
                ])
            );
            step.Accumulate(tensor(weights));
            var values = new InRunValues { Order = InRunValues.Expansion.Second };
            values.Add(step, 0.3);

            var shapley = new double[4];
            foreach (var order in Permutations([0, 1, 2, 3]))
            {
                double[] now = [.. at];
                foreach (var i in order)
                {
                    var before = plane.ValidationAt(now);
                    now = [.. now.Select((w, d) => w - (0.3 * weights[i] * gradients[i][d]))];
                    shapley[i] += (before - plane.ValidationAt(now)) / 24;
                }
            }

            Assert.All(shapley.Zip(values.Scores().Values), pair => Assert.Equal(pair.First, pair.Second, 12));
        }
    }

    private static IEnumerable<int[]> Permutations(int[] items) =>
        items.Length == 1
            ? [items]
            : items.SelectMany(first => Permutations([.. items.Where(i => i != first)]).Select(rest => (int[])[first, .. rest]));

    [Theory]
    [InlineData("sgd")]
    [InlineData("momentum")]
    [InlineData("two rates")]
    [InlineData("adam")]
    [InlineData("adamw amsgrad")]
    public void FirstOrderEqualsTheLoopOverSingleExamples(string name)
    {
        using var scope = NewDisposeScope();
        var (model, batch, validation) = Small();
        var task = Task(model);
        optim.Optimizer optimizer = name switch
        {
            "sgd" => optim.SGD(model.parameters(), 0.1),
            "momentum" => optim.SGD(model.parameters(), 0.1, momentum: 0.8, dampening: 0.5),
            "two rates" => optim.SGD(
                [new SGD.ParamGroup(model.parameters().Take(2), 0.1), new SGD.ParamGroup(model.parameters().Skip(2), 0.02)],
                0.5
            ),
            "adam" => optim.Adam(model.parameters(), 0.01, eps: 1e-3),
            _ => optim.AdamW(model.parameters(), 0.01, eps: 1e-3, amsgrad: true),
        };
        var values = new InRunValues();
        var expected = new double[8];
        using var loop = TrainingGradients.Open(task, batch, validation);
        var square = new double[Flat(model, "weights").Length];
        var largest = new double[square.Length];
        for (var t = 1; t <= 3; t++)
        {
            var g = SingleExampleLoop.Gradients(model, Loss(model), [batch["x"], batch["y"]]);
            var v = SingleExampleLoop.Gradients(model, Loss(model), [validation["x"], validation["y"]]).mean([0]);
            optimizer.zero_grad();
            using (var step = loop.Step(batch, validation))
            {
                step.Accumulate();
                values.Add(step, optimizer);
            }

            var gradient = Flat(model, "grad");
            var scale = new double[square.Length];
            for (var p = 0; p < scale.Length; p++)
            {
                // Adam's own divisor in the step to come.
                square[p] = (0.999 * square[p]) + (0.001 * gradient[p] * gradient[p]);
                largest[p] = Math.Max(largest[p], square[p]);
                var hat = Math.Sqrt((name == "adam" ? square[p] : largest[p]) / (1 - Math.Pow(0.999, t)));
                scale[p] = name switch
                {
                    "sgd" => 0.1,
                    "momentum" => 0.1 * 0.5 / 0.2,
                    "two rates" => p < 24 ? 0.1 : 0.02,
                    _ => 0.01 / (hat + 1e-3),
                };
            }

            var products = g.mv(v * tensor(scale)).data<double>().ToArray();
            expected = [.. expected.Zip(products, (sum, product) => sum + (product / 8))];
            optimizer.step();
        }

        var size = expected.Max(Math.Abs);
        Assert.All(expected.Zip(values.Scores().Values), pair => Assert.True(Math.Abs(pair.First - pair.Second) < Rounding * size));
        Assert.Equal(3, values.TimesSeen(0));
        Assert.All(values.Scores().Values.Zip(values.MeanScores().Values), pair => Assert.Equal(pair.First / 3, pair.Second, 15));
    }

    [Fact]
    public void FirstOrderInFloat32EqualsTheFloat64Loop()
    {
        using var scope = NewDisposeScope();
        var (model, batch, validation) = Small();
        var g = SingleExampleLoop.Gradients(model, Loss(model), [batch["x"], batch["y"]]);
        var v = SingleExampleLoop.Gradients(model, Loss(model), [validation["x"], validation["y"]]).mean([0]);
        model.to(float32);
        var (narrow, narrowValidation) = (Narrow(batch), Narrow(validation));
        using var loop = TrainingGradients.Open(Task(model), narrow, narrowValidation);
        using var step = loop.Step(narrow, narrowValidation);
        step.Accumulate();
        var values = new InRunValues();
        values.Add(step, 0.1);

        // Float32 has seven digits.
        Assert.True(SingleExampleLoop.RelativeError(tensor(values.Scores().Values.ToArray()), g.mv(v) * 0.1 / 8) < 1e-5);

        static ExampleBatch Narrow(ExampleBatch b) => ExampleBatch.Of(b.Ids, ("x", b["x"].to_type(float32)), ("y", b["y"]));
    }

    [Theory]
    [InlineData("attention causal")]
    [InlineData("cnn with batch norm")]
    [InlineData("tied embedding and head")]
    public void SecondOrderEqualsFiniteDifferencesOfTheGradient(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (inputs, validationInputs) = (made.Inputs(5), made.Inputs(3));
        var batch = ExampleBatch.Of([0, 1, 2, 3, 4], [.. inputs.Select((t, i) => ($"{i}", t))]);
        var validation = ExampleBatch.Of([0, 1, 2], [.. validationInputs.Select((t, i) => ($"{i}", t))]);
        using var loop = TrainingGradients.Open(made.Task(), batch, validation);
        Tensor first,
            second;
        using (var step = loop.Step(batch, validation))
        {
            step.Accumulate();
            (first, second) = (Values(InRunValues.Expansion.First, step), Values(InRunValues.Expansion.Second, step));
        }

        var before = PlainBackward.Take(made.Model);
        made.Model.zero_grad();
        var g = SingleExampleLoop.Gradients(made.Model, made.Loss, inputs);

        // The mean of the validation gradients a little before and behind along the batch's gradient is H g.
        const double Small = 1e-5;
        var (ahead, behind) = (At(Small), At(-Small));
        var curved = g.mv((ahead - behind) / (2 * Small)) / 5;
        var expected = first - (curved * 0.2 * 0.2 / 2);

        // Central differences: 1e-10 of third derivatives, 1e-11 of rounding, relative to the curved part.
        Assert.True(((second - expected).abs().max() / (second - first).abs().max()).item<double>() < 1e-5);

        Tensor At(double distance)
        {
            Move(distance);
            var v = SingleExampleLoop.Gradients(made.Model, made.Loss, validationInputs).mean([0]);
            Move(-distance);
            return v;
        }

        void Move(double distance)
        {
            using var noGrad = no_grad();
            var seen = new HashSet<nint>();
            foreach (var (parameterName, parameter) in made.Model.named_parameters())
            {
                if (seen.Add(parameter.storage<double>().data_ptr()))
                {
                    parameter.add_(before[parameterName] * distance);
                }
            }
        }

        static Tensor Values(InRunValues.Expansion order, TrainingStep step)
        {
            var values = new InRunValues { Order = order };
            values.Add(step, 0.2);
            return tensor(values.Scores().Values.ToArray());
        }
    }

    [Fact]
    public void SecondOrderLeavesGradAndModeAlone()
    {
        using var scope = NewDisposeScope();
        var (model, batch, validation) = Small();
        model.train();
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        using var step = loop.Step(batch, validation);
        step.Accumulate();
        var before = Flat(model, "grad");
        new InRunValues { Order = InRunValues.Expansion.Second }.Add(step, 0.1);
        Assert.Equal(before, Flat(model, "grad"));
        Assert.True(model.training);
    }

    [Fact]
    public void PartsOfABatchAndGroupsOfExamplesAddUp()
    {
        using var scope = NewDisposeScope();
        var (model, batch, validation) = Small();
        using var optimizer = optim.SGD(model.parameters(), 0.1);
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        var (whole, parts) = (new InRunValues(), new InRunValues());
        Add(whole, batch, 1);
        Add(parts, batch.Pick([0, 1, 2, 3]), 0.5);
        Add(parts, batch.Pick([4, 5, 6, 7]), 0.5);
        var size = whole.Scores().Values.Max(Math.Abs);
        Assert.All(whole.Scores().Values.Zip(parts.Scores().Values), pair => Assert.Equal(pair.First / size, pair.Second / size, 10));

        // A group's sum is the product with the group's gradient.
        var g = SingleExampleLoop.Gradients(model, Loss(model), [batch["x"], batch["y"]]).narrow(0, 2, 4).sum(0L);
        var v = SingleExampleLoop.Gradients(model, Loss(model), [validation["x"], validation["y"]]).mean([0]);
        Assert.Equal(g.dot(v).item<double>() * 0.1 / 8 / size, whole.Scores().Values.Skip(2).Take(4).Sum() / size, 10);

        void Add(InRunValues values, ExampleBatch some, double scale)
        {
            using var step = loop.Step(some, validation);
            step.Accumulate(scale);
            values.Add(step, optimizer);
        }
    }

    [Fact]
    public void AnIdThatIsTwiceInABatchCountsTwice()
    {
        using var scope = NewDisposeScope();
        var plane = new Plane([1, -0.5], [2, 1]);
        var batch = Plane.Batch([
            [1, 0],
            [0, 1],
            [1, 1],
        ]);
        var twice = ExampleBatch.Of([7, 7, 8], ("x", batch["x"]), ("g", batch["g"]));
        using var loop = TrainingGradients.Open(plane.Task, twice, batch);
        using var step = loop.Step(twice, batch);
        step.Accumulate();
        var values = new InRunValues();
        values.Add(step, 0.3);
        Assert.Equal([7L, 8], values.Scores().Ids);
        Assert.Equal(0.05, values.Scores()[0], 14);
        Assert.Equal(2, values.TimesSeen(7));
        Assert.Equal(0, values.TimesSeen(9));
    }

    [Fact]
    public void ARestartedRunGoesOnToTheSameSums()
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        var path = folder.Path("values.safetensors");
        var (model, batch, validation) = Small();
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        var (through, first) = (
            new InRunValues { Order = InRunValues.Expansion.Second },
            new InRunValues { Order = InRunValues.Expansion.Second }
        );
        Add(through, 0.1);
        Add(through, 0.2);
        Add(first, 0.1);
        first.Save(path);
        var second = InRunValues.Load(path);
        Add(second, 0.2);

        Assert.Equal(through.Scores().Values, second.Scores().Values);
        Assert.Equal(through.Scores().Ids, second.Scores().Ids);
        Assert.Equal((2, InRunValues.Expansion.Second, 2), (second.Steps, second.Order, second.TimesSeen(3)));
        Assert.Equal(through.Scores().Metadata.Coverage, second.Scores().Metadata.Coverage);

        // The file is of one step; another run may not write over it, this one may.
        Assert.Contains(
            "holds the values of 1 steps",
            Assert.Throws<InfluenceException>(() => InRunValues.Load(path, 0)).Message,
            StringComparison.Ordinal
        );
        Assert.Equal(1, InRunValues.Load(path, 1).Steps);
        Assert.Contains(
            "InRunValues.Load(path)",
            Assert.Throws<InfluenceException>(() => through.Save(path)).Message,
            StringComparison.Ordinal
        );
        second.Save(path);
        Assert.Equal(2, InRunValues.Load(path, 2).Steps);
        second.Clear();
        Assert.Equal((0, 0), (second.Count, second.Steps));
        ExampleScores.Of([1], [2]).Save(path);
        Assert.Contains(
            "no in-run values",
            Assert.Throws<InfluenceException>(() => InRunValues.Load(path)).Message,
            StringComparison.Ordinal
        );

        void Add(InRunValues values, double rate)
        {
            using var step = loop.Step(batch, validation);
            step.Accumulate();
            values.Add(step, rate);
        }
    }

    [Fact]
    public void BadInputIsNamed()
    {
        using var scope = NewDisposeScope();
        var (model, batch, validation) = Small();
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        using var optimizer = optim.SGD(model.parameters(), 0.1);
        using var step = loop.Step(batch, validation);
        var values = new InRunValues();
        Assert.Contains("step.Accumulate()", Message(() => values.Add(step, optimizer)), StringComparison.Ordinal);
        step.Accumulate();
        using var foreign = optim.SGD(nn.Linear(2, 2, dtype: float64).parameters(), 0.1);
        Assert.Contains("none of the model's parameters", Message(() => values.Add(step, foreign)), StringComparison.Ordinal);
        using var rising = optim.SGD(model.parameters(), 0.1, maximize: true);
        Assert.Contains("maximizes", Message(() => values.Add(step, rising)), StringComparison.Ordinal);
        Assert.Contains("NaN", Message(() => values.Add(step, double.NaN)), StringComparison.Ordinal);
        using var alone = loop.Step(batch);
        alone.Accumulate();
        Assert.Contains("validation batch", Message(() => values.Add(alone, 0.1)), StringComparison.Ordinal);
        Assert.Equal((0, 0), (values.Count, values.Steps));

        static string Message(Action action) => Assert.Throws<InfluenceException>(action).Message;
    }

    private static (Sequential Model, ExampleBatch Batch, ExampleBatch Validation) Small()
    {
        random.manual_seed(11);
        var model = nn.Sequential(nn.Linear(5, 4, dtype: float64), nn.Tanh(), nn.Linear(4, 3, dtype: float64));
        return (model, Batch(8), Batch(3));

        static ExampleBatch Batch(int count) =>
            ExampleBatch.Of(
                [.. Enumerable.Range(0, count).Select(i => (long)i)],
                ("x", randn([count, 5], dtype: float64)),
                ("y", randint(0, 3, [count]))
            );
    }

    private static InfluenceTask Task(nn.Module<Tensor, Tensor> model) => new(model) { TrainingLoss = b => Loss(model)([b["x"], b["y"]]) };

    private static Func<Tensor[], Tensor> Loss(nn.Module<Tensor, Tensor> model) =>
        t => nn.functional.cross_entropy(model.call(t[0]), t[1], reduction: nn.Reduction.None);

    private static double[] Flat(nn.Module model, string what) =>
        [.. model.parameters().SelectMany(p => (what == "grad" ? p.grad! : p.detach()).data<double>().ToArray())];
}
