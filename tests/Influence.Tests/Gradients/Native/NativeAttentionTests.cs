using System.Runtime.CompilerServices;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Gradients;

/// <summary>Native attention: taken by rules through the recomputing hook, with settings that are found or given.</summary>
public sealed class NativeAttentionTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();

    public NativeAttentionTests() => torch.random.manual_seed(11);

    public static TheoryData<string> Names => [.. NativeAttentionCases.Names];

    public void Dispose() => _scope.Dispose();

    /// <summary>Exactness says nothing about how: single examples are exact too.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void GradientsComeFromRules(string name)
    {
        var made = Cases.Make(name);
        var coverage = made.Task().Coverage(Examples.FromTensors(made.Inputs(5)));
        var (native, others) = (
            coverage.Parameters.Where(p => p.Name.StartsWith("native.", StringComparison.Ordinal)).ToList(),
            coverage.Parameters.Where(p => !p.Name.StartsWith("native.", StringComparison.Ordinal)).ToList()
        );

        Assert.All(others, p => Assert.Contains(p.Method, (string[])["Linear", "LayerNorm"]));
        switch (name)
        {
            case "native attention with biased keys":
                Assert.All(native, p => Assert.Contains("biases added to keys", p.Note, StringComparison.Ordinal));
                break;
            case "native encoder layer masked":
                Assert.All(native, p => Assert.Contains("a TransformerEncoder of one layer runs it", p.Note, StringComparison.Ordinal));
                break;
            default:
                Assert.All(native, p => Assert.Contains(p.Method, (string[])["Linear", "LayerNorm"]));
                break;
        }
    }

    /// <summary>The rows of a packed projection are blocks of their own, and their taps see one tensor.</summary>
    [Fact]
    public void PackedProjectionsAreSplit()
    {
        var made = Cases.Make("native attention");
        var train = Examples.FromTensors(made.Inputs(3));
        using var session = GradientSession.Open(made.Task(), train, null);

        Assert.Contains("native.in_proj_weight[q], native.in_proj_bias[q]", session.BlockNames);
        Assert.Contains("native.in_proj_weight[v], native.in_proj_bias[v]", session.BlockNames);
        Assert.Contains("native.out_proj.weight, native.out_proj.bias", session.BlockNames);
        var parts = session.Parts.SelectMany(p => p).Where(p => p.Parameter.LocalName == "in_proj_weight").ToList();
        Assert.Equal([(0L, 36L), (36, 36), (72, 36)], parts.Select(p => (p.Start, p.Count)));
        foreach (var batch in train.Batches())
        {
            using var captured = session.Capture(batch, LossKind.Training);
            var seen = session
                .BlockNames.Zip(captured.Blocks)
                .Where(b => b.First.Contains("in_proj_weight[", StringComparison.Ordinal))
                .Select(b => ((FactoredGradients)b.Second!).Activation)
                .ToList();

            Assert.Equal(3, seen.Count);
            Assert.Single(
                seen.Select(a =>
                        (a.storage<double>().data_ptr(), a.storage_offset(), string.Join(",", a.shape), string.Join(",", a.stride()))
                    )
                    .Distinct()
            );
        }
    }

    /// <summary>The same model with its native attention written as linear layers gives the same scores.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ScoresAreThoseOfTheConvertedModel(bool masked)
    {
        var (first, native, head) = (
            nn.Linear(5, 6, dtype: float64),
            nn.MultiheadAttention(6, 3).to(float64),
            nn.Linear(6, 2, dtype: float64)
        );
        var causal = zeros(4, 4, float64).masked_fill(ones(4, 4).triu(1).to_type(ScalarType.Bool), double.NegativeInfinity);
        var model = new Composite(
            x =>
            {
                var y = first.call(x).transpose(0, 1);
                return head.call(native.call(y, y, y, attn_mask: masked ? causal : null).Item1.transpose(0, 1));
            },
            ("first", first),
            ("native", native),
            ("head", head)
        );
        var linears = new[] { "q", "k", "v", "out" }.ToDictionary(n => n, _ => nn.Linear(6, 6, dtype: float64));
        var converted = new Composite(
            x =>
            {
                var y = first.call(x); // [B, T, E]
                Tensor Heads(string name) => linears[name].call(y).reshape(-1, 4, 3, 2).transpose(1, 2);
                var logits = Heads("q").matmul(Heads("k").transpose(-2, -1)) / Math.Sqrt(2); // [B, H, T, T]
                var weights = F.softmax(masked ? logits + causal : logits, -1);
                return head.call(linears["out"].call(weights.matmul(Heads("v")).transpose(1, 2).reshape(-1, 4, 6)));
            },
            [("first", first), ("head", head), .. linears.Select(l => (l.Key, (nn.Module)l.Value))]
        );
        using (no_grad())
        {
            native.get_parameter("in_proj_bias")!.normal_();
            foreach (var (name, row) in new[] { ("q", 0), ("k", 6), ("v", 12) })
            {
                linears[name].weight.copy_(native.get_parameter("in_proj_weight")!.narrow(0, row, 6));
                linears[name].bias!.copy_(native.get_parameter("in_proj_bias")!.narrow(0, row, 6));
            }

            linears["out"].weight.copy_(native.get_parameter("out_proj.weight")!);
            linears["out"].bias!.copy_(native.get_parameter("out_proj.bias")!);
        }

        model.eval();
        converted.eval();
        var (train, queries) = (Data(7), Data(3));
        using var ours = new TracIn().Score(Task(model), train, queries);
        using var theirs = new TracIn().Score(Task(converted), train, queries);

        // Both sum the same products in float64, in another order.
        Assert.True(SingleExampleLoop.RelativeError(ours.Values, theirs.Values) < 1e-12);
    }

    [Fact]
    public void SettingsThatAreGivenAreUsedAndChecked()
    {
        var made = Cases.Make("native encoder");
        var (train, queries) = (made.Inputs(5), made.Inputs(3));
        InfluenceTask With(InfluenceTask.Options settings) =>
            new(made.Model) { TrainingLoss = made.Task().TrainingLoss, Attention = settings };
        using var found = new TracIn().Score(made.Task(), Examples.FromTensors(train), Examples.FromTensors(queries));
        using var given = new TracIn().Score(
            With(new() { Heads = 3, Activation = nn.Activations.ReLU }),
            Examples.FromTensors(train),
            Examples.FromTensors(queries)
        );

        Assert.Equal(found.Values.data<double>().ToArray(), given.Values.data<double>().ToArray());
        var heads = Assert.Throws<InfluenceException>(() => With(new() { Heads = 2 }).Coverage(Examples.FromTensors(train)));
        Assert.Contains("native (TransformerEncoder) could not be recomputed", heads.Message, StringComparison.Ordinal);
        Assert.Contains("2 heads, ReLU; 2 heads, GELU; the closest, 2 heads, ReLU, differs by", heads.Message, StringComparison.Ordinal);
        Assert.Contains("Attention = new InfluenceTask.Options { Heads = ... }", heads.Message, StringComparison.Ordinal);
        var width = Assert.Throws<InfluenceException>(() => With(new() { Heads = 4 }).Coverage(Examples.FromTensors(train)));
        Assert.Contains("does not divide its width", width.Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new InfluenceTask.Options { Heads = 0 });
    }

    [Fact]
    public void AnOutputThatIsNotTheModulesOwnIsRefused()
    {
        var made = Cases.Make("native attention");
        var native = (MultiheadAttention)made.Model.named_children().Single(c => c.name == "native").module;
        var remover = native.register_forward_hook((_, _, _, _, _, _, _, output) => Tuple.Create(output.Item1 * 1.5, output.Item2));
        var thrown = Assert.Throws<InfluenceException>(() => made.Task().Coverage(Examples.FromTensors(made.Inputs(4))));

        Assert.Contains("Does a hook change its output?", thrown.Message, StringComparison.Ordinal);
        remover.remove();
        Assert.Equal(0, made.Task().Coverage(Examples.FromTensors(made.Inputs(4))).BySingleExamples);
    }

    [Fact]
    public void DropoutIsRefused()
    {
        var made = Cases.Make("native encoder");
        made.Model.train();
        var encoder = Assert.Throws<InfluenceException>(() => made.Task().Coverage(Examples.FromTensors(made.Inputs(4))));
        Assert.Contains("native (torch::nn::TransformerEncoderImpl)", encoder.Message, StringComparison.Ordinal);

        var attention = nn.MultiheadAttention(6, 2, dropout: 0.5).to(float64);
        var model = new Composite(x => attention.call(x, x, x).Item1, ("attention", attention));
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b[0].transpose(0, 1)).Squared().sum([0, 2]) };
        var thrown = Assert.Throws<InfluenceException>(() => task.Coverage(Examples.FromTensors(randn(4, 3, 6, dtype: float64))));
        Assert.Contains("Write model.eval() first.", thrown.Message, StringComparison.Ordinal);
    }

    /// <summary>Sequences of one position show no heads: longer ones that come later must not be taken with the wrong number.</summary>
    [Fact]
    public void SettingsThatTheFirstBatchDoesNotShowStayOnTrial()
    {
        var made = Cases.Make("native attention");
        var (one, longer) = (made.Inputs(4).Select(t => t.narrow(1, 0, 1)).ToArray(), made.Inputs(4));
        var q = SingleExampleLoop.Gradients(made.Model, made.Loss, one);
        var g = SingleExampleLoop.Gradients(made.Model, made.Loss, longer);
        using var scores = new TracIn().Score(made.Task(), Examples.FromTensors(one), Examples.FromTensors(longer));

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, g.mm(q.t())) < 1e-10);
    }

    [Fact]
    public void MasksThatHideEverythingAreNamed()
    {
        var attention = nn.MultiheadAttention(6, 2).to(float64);
        attention.eval();
        var task = new InfluenceTask(attention)
        {
            TrainingLoss = b =>
            {
                var x = b[0].transpose(0, 1);
                return attention.call(x, x, x, ones([b.Count, 3], ScalarType.Bool)).Item1.Squared().sum([0, 2]);
            },
        };
        var thrown = Assert.Throws<InfluenceException>(() => task.Coverage(Examples.FromTensors(randn(4, 3, 6, dtype: float64))));

        Assert.Contains("the model (MultiheadAttention)", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("does a mask hide every key", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TheLastLayerIsTheLastWithin()
    {
        var made = Cases.Make("native encoder on its own");
        var (train, queries) = (made.Inputs(4), made.Inputs(3));
        bool IsLast(string name) => name.StartsWith("layers.1.norm2", StringComparison.Ordinal);
        var (g, q) = (
            SingleExampleLoop.Gradients(made.Model, made.Loss, train, IsLast),
            SingleExampleLoop.Gradients(made.Model, made.Loss, queries, IsLast)
        );
        using var scores = new TracIn().Score(made.Task(LayerSelection.Last), Examples.FromTensors(train), Examples.FromTensors(queries));

        Assert.Equal(12, g.shape[1]);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, q.mm(g.t())) < 1e-10);
    }

    /// <summary>Gradients of gradients through the recomputed module are those through the native one.</summary>
    [Theory]
    [InlineData("native attention masked")]
    [InlineData("native encoder")]
    public void HessianVectorProductsGoThroughTheRecomputedModule(string name)
    {
        var made = Cases.Make(name);
        var inputs = made.Inputs(4);
        using var session = GradientSession.Open(made.Task(), Examples.FromTensors(inputs), null);
        var parameters = made.Model.parameters().Cast<Tensor>().ToList();
        parameters.ForEach(p => p.requires_grad = true);
        var directions = parameters.Select(p => randn_like(p)).ToList();
        var native = Product();
        List<Tensor> managed;
        using (session.WithManagedAttention())
        {
            managed = Product();
        }

        var norm = native.Sum(t => t.Squared().sum().item<double>());
        Assert.True(native.Zip(managed).Sum(p => (p.First - p.Second).Squared().sum().item<double>()) < 1e-24 * norm);

        List<Tensor> Product()
        {
            var gradients = autograd.grad(
                [made.Loss(inputs).sum()],
                parameters,
                retain_graph: true,
                create_graph: true,
                allow_unused: true
            );
            var along = gradients.Zip(directions).Select(p => (p.First * p.Second).sum()).Aggregate((a, b) => a + b);
            return [.. autograd.grad([along], parameters, allow_unused: true)];
        }
    }

    /// <summary>Positions lead nowhere inside: they come before the examples.</summary>
    [Fact]
    public void PositionMasksReachInside()
    {
        var made = Cases.Make("native encoder on its own");
        var inputs = made.Inputs(5);
        var mask = ones(5, 4, dtype: float64);
        mask[TensorIndex.Colon, 3] = 0;
        // [B, E]
        var expected = (
            2 * (((TransformerEncoder)made.Model).call(inputs[0].transpose(0, 1)).transpose(0, 1) - inputs[1]) * mask.unsqueeze(-1)
        ).sum([1]);
        var plain = Blocks(null);
        var masked = Blocks(b => mask[..b.Count]);

        Assert.True(
            SingleExampleLoop.RelativeError(
                tensor(masked["layers.1.norm2.weight, layers.1.norm2.bias"][1]).reshape(5, 6),
                expected.detach()
            ) < 1e-12
        );
        Assert.Equal(16, masked.Count);
        Assert.All(masked.Keys, name => Assert.NotEqual(plain[name][0], masked[name][0]));

        Dictionary<string, double[][]> Blocks(Func<ExampleBatch, Tensor>? positions)
        {
            var task = new InfluenceTask(made.Model) { TrainingLoss = made.Task().TrainingLoss, PositionMask = positions };
            var train = Examples.FromTensors(inputs);
            using var session = GradientSession.Open(task, train, null);
            var found = new Dictionary<string, double[][]>();
            foreach (var batch in train.Batches())
            {
                using var captured = session.Capture(batch, LossKind.Training);
                for (var k = 0; k < captured.Blocks.Count; k++)
                {
                    found.Add(session.BlockNames[k], [.. captured.Blocks[k]!.Dense().Select(d => d.contiguous().data<double>().ToArray())]);
                }
            }

            return found;
        }
    }

    [Theory]
    [InlineData("native attention masked")]
    [InlineData("native encoder masked")]
    public void TheModelStaysAsItWas(string name)
    {
        var made = Cases.Make(name);
        var inputs = made.Inputs(5);
        var native = made.Model.named_children().Single(c => c.name == "native").module;
        native.get_parameter(native.named_parameters().First().name)!.requires_grad = false;
        double[] Outputs()
        {
            using var noGrad = no_grad();
            return made.Loss(inputs).data<double>().ToArray();
        }

        var (before, flags) = (Outputs(), made.Model.named_parameters().Select(p => p.parameter.requires_grad).ToList());
        foreach (var (failAt, within) in new[] { (-1, false), (0, false), (3, false), (0, true), (3, true) })
        {
            var count = 0;
            var task = new InfluenceTask(made.Model)
            {
                TrainingLoss = b =>
                    !b.Ids.Contains(failAt) || ++count < 1 ? made.Task().TrainingLoss(b)
                    : within ? FailWithin(native)
                    : throw new InvalidOperationException("no more"),
            };
            void Run()
            {
                using var inner = NewDisposeScope();
                var train = Examples.FromTensors(inputs) with { BatchSize = 2 };
                if (failAt < 0)
                {
                    _ = new TracIn().SelfInfluence(task, train);
                }
                else
                {
                    Assert.Throws<InfluenceException>(() => new TracIn().SelfInfluence(task, train));
                }
            }

            Run();
            var live = LiveTensors.OnThisThread;
            Run();
            Assert.Equal(live, LiveTensors.OnThisThread);
            Assert.Equal(failAt >= 0, count > 0);
            Assert.True(is_grad_enabled());
        }

        Assert.Equal(before, Outputs());
        Assert.Equal(flags, made.Model.named_parameters().Select(p => p.parameter.requires_grad));
        Assert.Empty(native.named_modules());
    }

    [Theory]
    [InlineData("native attention")]
    [InlineData("native encoder layer")]
    [InlineData("native encoder")]
    public void NoHookIsLeft(string name)
    {
        var made = Cases.Make(name);
        var layers = OpenAndClose();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();

        Assert.NotEmpty(layers);
        Assert.DoesNotContain(layers, layer => layer.IsAlive);
        GC.KeepAlive(made);

        [MethodImpl(MethodImplOptions.NoInlining)]
        List<WeakReference> OpenAndClose()
        {
            using var session = GradientSession.Open(made.Task(), Examples.FromTensors(made.Inputs(3)), null);
            return [.. session.Blocks.SelectMany(block => block.Uses).Select(use => new WeakReference(use.Layer))];
        }
    }

    private static Tensor FailWithin(nn.Module native)
    {
        using var scope = NewDisposeScope();
        var x = randn(3, 1, 5, dtype: float64);
        return (
            native is MultiheadAttention attention ? attention.call(x, x, x).Item1 : ((TransformerEncoder)native).call(x)
        ).MoveToOuterDisposeScope();
    }

    private static Examples Data(long count)
    {
        torch.random.manual_seed(count);
        return Examples.FromTensors(randn(count, 4, 5, dtype: float64), randn(count, 4, 2, dtype: float64));
    }

    private static InfluenceTask Task(Composite model) => new(model) { TrainingLoss = b => ModelCase.SquaredNorm(model.call(b[0]), b[1]) };
}
