using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests;

/// <summary>The one backward pass, against autograd.grad where that does not end the process.</summary>
public class GuardedBackwardTests
{
    /// <summary>Leaves, an output of a layer, a view, an unused input; several outputs.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void GradientsAreThoseOfAutogradGrad(bool along)
    {
        using var scope = NewDisposeScope();
        var (x, w, unused) = (Leaf(3, 4), Leaf(4, 5), Leaf(2, 2));
        var hidden = x.mm(w);
        var view = hidden.alias();
        var tanh = view.tanh();
        Tensor[] outputs = along ? [tanh, view.t()] : [tanh.Squared().sum(), view.sum()];
        Tensor[]? seeds = along ? [randn_like(tanh), randn_like(view.t())] : null;
        Tensor[] inputs = [x, view, unused, w];

        var expected = autograd.grad(outputs, inputs, seeds, retain_graph: true, allow_unused: true);
        var actual = GuardedBackward.Gradients(outputs, inputs, GraphAfter.Kept, seeds);

        Assert.Null(actual[2]);
        Assert.All(new[] { 0, 1, 3 }, k => Assert.True(Same(actual[k]!, expected[k]) && !actual[k]!.requires_grad));
        Assert.All(inputs, input => Assert.Null(input.grad));
    }

    [Fact]
    public void AnExtendedGraphIsDifferentiatedAgain()
    {
        using var scope = NewDisposeScope();
        var x = Leaf(6);
        var first = GuardedBackward.Gradients([x.pow(4).sum()], [x], GraphAfter.Extended)[0]!;
        var second = GuardedBackward.Gradients([first.sum()], [x])[0]!;
        Assert.True(SingleExampleLoop.RelativeError(second, 12 * x.detach().Squared()) < 1e-14);
    }

    /// <summary>What the user has in .grad is neither read nor written, in any mode, also when it throws.</summary>
    [Fact]
    public void TheUsersOwnGradientsStay()
    {
        using var scope = NewDisposeScope();
        var x = Leaf(3);
        x.grad = ones_like(x);
        foreach (var graph in Enum.GetValues<GraphAfter>())
        {
            GuardedBackward.Gradients([x.exp().sum()], [x], graph);
        }

        var freed = x.exp().sum();
        GuardedBackward.Gradients([freed], [x]);
        Assert.Throws<InfluenceException>(() => GuardedBackward.Gradients([freed], [x]));
        Assert.True(Same(x.grad!, ones_like(x)));
    }

    /// <summary>Neither a graph of gradients nor a failure leaves a tensor; libtorch's own count is the memory of the process.</summary>
    [Fact]
    public void NothingIsLeftBehind()
    {
        Run();
        var (before, bytes) = (LiveTensors.OnThisThread, Environment.WorkingSet);
        for (var k = 0; k < 200; k++)
        {
            Run();
        }

        Assert.Equal(before, LiveTensors.OnThisThread);
        Assert.InRange(Environment.WorkingSet - bytes, long.MinValue, 100L << 20);

        // 1 MB each, a dozen of them: a graph that is kept in a cycle would hold a GB and more in the end.
        static void Run()
        {
            using var scope = NewDisposeScope();
            var x = Leaf(1 << 17);
            var y = x.exp().sum();
            var first = GuardedBackward.Gradients([y], [x], GraphAfter.Extended)[0]!;
            GuardedBackward.Gradients([first.Squared().sum()], [x]);
            Assert.Throws<InfluenceException>(() => GuardedBackward.Gradients([first.Squared().sum()], [x]));
        }
    }

    [Fact]
    public void AFailureSaysWhoWhyAndWhatToWrite()
    {
        using var scope = NewDisposeScope();
        var x = Leaf(3);
        var y = x.exp();
        var loss = y.Squared().sum();
        y.add_(1);
        var thrown = Assert.Throws<InfluenceException>(() => GuardedBackward.Gradients([loss], [x], ids: [7, 9]));
        Assert.Equal([7L, 9L], thrown.ExampleIds);
        Assert.StartsWith(
            "The backward pass for the examples with ids 7, 9 failed: one of the variables needed for gradient computation has been "
                + "modified by an inplace operation",
            thrown.Message,
            StringComparison.Ordinal
        );
        Assert.Contains("write x = x.relu() for x.relu_()", thrown.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', thrown.Message);
    }

    [Fact]
    public void AccumulatingFailsInTheSameWords()
    {
        using var scope = NewDisposeScope();
        var x = Leaf(3);
        var loss = x.exp().sum();
        GuardedBackward.Accumulate(loss, graph: GraphAfter.Kept);
        GuardedBackward.Accumulate(loss, [x]);
        Assert.True(SingleExampleLoop.RelativeError(x.grad!, 2 * x.detach().exp()) < 1e-14);
        var thrown = Assert.Throws<InfluenceException>(() => GuardedBackward.Accumulate(loss, [x], ids: [4]));
        Assert.Contains("ids 4 failed: Trying to backward through the graph a second time", thrown.Message, StringComparison.Ordinal);
    }

    private static bool Same(Tensor a, Tensor b) => a.eq(b).all().item<bool>();

    private static Tensor Leaf(params long[] shape) => randn(shape, dtype: ScalarType.Float64, requires_grad: true);
}
