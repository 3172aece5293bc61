using TorchSharp.SystemLibtorch.Tests.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TorchSharp.SystemLibtorch.Tests.Functional;

public class LossTests
{
    [Fact]
    public void Cross_entropy_is_the_negative_log_softmax_of_the_target()
    {
        using var scope = NewDisposeScope();
        var logits = tensor(new float[,] { { 1, 2, 3 }, { 1, 1, 1 } });
        var target = tensor(new long[] { 2, 0 });
        double[] each = [Math.Log(1 + Math.Exp(-1) + Math.Exp(-2)), Math.Log(3)];

        Values.Equal(each, F.cross_entropy(logits, target, reduction: nn.Reduction.None));
        Values.Equal([each.Average()], F.cross_entropy(logits, target));
        Values.Equal([each.Sum()], F.cross_entropy(logits, target, reduction: nn.Reduction.Sum));
        Values.Equal([each.Average()], nn.CrossEntropyLoss().call(logits, target));
        Values.Equal([each.Average()], F.nll_loss(F.log_softmax(logits, 1), target));
        Values.Equal([each.Average()], nn.NLLLoss().call(F.log_softmax(logits, 1), target));
    }

    [Fact]
    public void Cross_entropy_weighs_classes_and_ignores_an_index()
    {
        using var scope = NewDisposeScope();
        var logits = tensor(new float[,] { { 1, 2 }, { 1, 1 } });
        var target = tensor(new long[] { 1, 0 });

        Values.Equal(
            [((3 * Math.Log(1 + Math.Exp(-1))) + (1 * Math.Log(2))) / 4],
            F.cross_entropy(logits, target, weight: Values.Row(1, 3)));
        Values.Equal([Math.Log(2)], F.cross_entropy(logits, target, ignore_index: 1));
    }

    [Fact]
    public void Squared_and_absolute_differences()
    {
        using var scope = NewDisposeScope();
        var (x, y) = (Values.Row(1, 2, 4), Values.Row(1, 1, 1));

        Values.Equal([10.0 / 3], F.mse_loss(x, y));
        Values.Equal([0, 1, 9], F.mse_loss(x, y, nn.Reduction.None));
        Values.Equal([4.0 / 3], F.l1_loss(x, y));
        Values.Equal([10], nn.MSELoss(nn.Reduction.Sum).call(x, y));
        Values.Equal([0, 0.5, 2.5], F.smooth_l1_loss(x, y, nn.Reduction.None));
        Values.Equal([0, 0.5, 2.5], F.huber_loss(x, y, reduction: nn.Reduction.None));
    }

    [Fact]
    public void Binary_cross_entropy_from_logits_and_probabilities()
    {
        using var scope = NewDisposeScope();
        var (logits, target) = (Values.Row(0, 2), Values.Row(1, 0));
        double[] each = [Math.Log(2), Math.Log(1 + Math.Exp(2))];

        Values.Equal(each, F.binary_cross_entropy_with_logits(logits, target, reduction: nn.Reduction.None));
        Values.Equal(each, F.binary_cross_entropy(F.sigmoid(logits), target, reduction: nn.Reduction.None));
        Values.Equal([each.Average()], nn.BCEWithLogitsLoss().call(logits, target));
        Values.Equal(
            [3 * each[0], each[1]],
            F.binary_cross_entropy_with_logits(
                logits, target, reduction: nn.Reduction.None, pos_weights: Values.Row(3, 3)));
    }
}
