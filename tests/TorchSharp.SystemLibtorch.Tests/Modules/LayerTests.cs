using TorchSharp.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TorchSharp.SystemLibtorch.Tests.Modules;

public class LayerTests
{
    [Fact]
    public void Linear_multiplies_by_the_transposed_weight_and_adds_the_bias()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Linear(2, 2);
        layer.weight.with_requires_grad(false).copy_(tensor(new float[,] { { 1, 2 }, { 3, 4 } }));
        layer.bias!.with_requires_grad(false).copy_(Values.Row(10, 20));

        Values.Equal([10 + 1 + 4, 20 + 3 + 8], layer.call(tensor(new float[,] { { 1, 2 } })));
        Assert.Equal((2, 2), (layer.in_features, layer.out_features));
    }

    [Fact]
    public void Linear_of_given_parameters_uses_them()
    {
        using var weight = nn.Parameter(ones(3, 5));
        using var layer = nn.Linear(weight);

        Assert.Same(weight, layer.weight);
        Assert.Null(layer.bias);
        Assert.Equal((5, 3), (layer.in_features, layer.out_features));
    }

    [Fact]
    public void Default_values_lie_within_one_over_the_root_of_the_fan_in()
    {
        manual_seed(1);
        using var linear = nn.Linear(100, 50);
        using var conv = nn.Conv2d(4, 8, 5);

        foreach (var parameter in linear.parameters().Concat(conv.parameters()))
        {
            var largest = parameter.Floats().Max(Math.Abs);
            Assert.InRange(largest, 0.05f, 0.1000001f);
        }
    }

    [Fact]
    public void A_seed_decides_the_values()
    {
        manual_seed(3);
        using var first = nn.Linear(4, 4);
        manual_seed(3);
        using var second = nn.Linear(4, 4);

        Assert.Equal(first.weight.Floats(), second.weight.Floats());
    }

    [Fact]
    public void Convolutions_equal_their_functional_forms()
    {
        using var scope = NewDisposeScope();
        using var conv1 = nn.Conv1d(2, 3, 3, stride: 2, padding: 1);
        using var conv2 = nn.Conv2d(4, 6, (3, 2), stride: (1, 2), padding: (1, 0), groups: 2);
        var (x1, x2) = (randn(2, 2, 7), randn(2, 4, 5, 6));

        Assert.True(conv1.call(x1).allclose(F.conv1d(x1, conv1.weight, conv1.bias, 2, 1)));
        Assert.True(conv2.call(x2).allclose(F.conv2d(x2, conv2.weight, conv2.bias, [1, 2], [1, 0], [1], 2)));
        Assert.Equal([6, 2, 3, 2], conv2.weight.shape);
        Assert.Equal([2, 3, 4], conv1.call(x1).shape);
        Assert.Throws<ArgumentException>(() => conv2.call(x1));
    }

    [Fact]
    public void Padding_same_keeps_the_size_and_modes_pad_by_their_name()
    {
        using var scope = NewDisposeScope();
        using var same = nn.Conv1d(1, 1, 4, Padding.Same);
        using var circular = nn.Conv1d(1, 1, 3, padding: 1, padding_mode: PaddingModes.Circular, bias: false);
        nn.init.ones_(circular.weight);

        Assert.Equal([1, 1, 9], same.call(zeros(1, 1, 9)).shape);
        Values.Equal([1 + 2 + 4, 1 + 2 + 3, 2 + 3 + 4, 3 + 4 + 1], circular.call(Values.Row(1, 2, 3, 4).view(1, 1, 4)));
    }

    [Fact]
    public void Embedding_looks_rows_up_and_leaves_its_padding_row_alone()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Embedding(5, 3, padding_idx: -1);
        var indices = tensor(new long[] { 4, 1 });

        layer.call(indices).sum().backward();

        Values.Equal([0, 0, 0], layer.weight![4]);
        Values.Equal([0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], layer.weight.grad!);
        Assert.Equal(layer.weight[1].Floats(), layer.call(indices)[1].Floats());
    }

    [Fact]
    public void Embedding_of_given_rows_is_frozen_unless_asked_otherwise()
    {
        using var scope = NewDisposeScope();
        var rows = arange(6, dtype: ScalarType.Float32).view(3, 2);
        using var frozen = nn.Embedding_from_pretrained(rows);
        using var trained = nn.Embedding_from_pretrained(rows, freeze: false);

        Values.Equal([4, 5], frozen.call(tensor(new long[] { 2 })));
        Assert.False(frozen.weight!.requires_grad);
        Assert.True(trained.weight!.requires_grad);
    }

    [Fact]
    public void LayerNorm_centres_and_scales_the_last_dimension()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.LayerNorm(4);
        nn.init.constant_(layer.weight, 2);
        nn.init.constant_(layer.bias!, 1);

        // Mean 2.5 and variance 1.25 (not 5/3: the biased one).
        var expected = new double[] { 1, 2, 3, 4 }.Select(x => (2 * (x - 2.5) / Math.Sqrt(1.25 + 1e-5)) + 1);
        Values.Equal([.. expected], layer.call(Values.Row(1, 2, 3, 4)));
        Assert.Equal([4L], layer.normalized_shape);

        using var plain = nn.LayerNorm(4, elementwise_affine: false);
        Assert.Empty(plain.parameters());
    }

    [Fact]
    public void GroupNorm_starts_as_plain_normalisation_of_each_group()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.GroupNorm(2, 4);
        nn.init.ones_(layer.weight);
        nn.init.zeros_(layer.bias!);
        var input = randn(3, 4, 5);

        var output = layer.call(input).view(3, 2, 10);

        Values.Equal(new double[6], output.mean([-1L]), 1e-5);
        Assert.Throws<ArgumentException>(() => layer.call(zeros(2, 4)));
    }

    [Fact]
    public void BatchNorm_keeps_running_statistics_in_training_and_uses_them_in_evaluation()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.BatchNorm1d(1, momentum: 0.5);
        var input = tensor(new float[,] { { 1 }, { 3 } });

        Values.Equal([-1, 1], layer.call(input), 1e-4);
        Values.Equal([1], layer.running_mean!);
        Values.Equal([(0.5 * 1) + (0.5 * 2)], layer.running_var!);
        Assert.Equal(1, layer.num_batches_tracked!.item<long>());

        layer.eval();
        Values.Equal([0, 2 / Math.Sqrt(1.5 + 1e-5)], layer.call(input));
        Assert.Equal(1, layer.num_batches_tracked.item<long>());
        Assert.Throws<ArgumentException>(() => layer.call(zeros(1)));
    }

    [Fact]
    public void Dropout_is_the_identity_in_evaluation_and_keeps_the_mean_in_training()
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        using var layer = nn.Dropout(0.25);
        var input = ones(20000);

        var values = layer.call(input).Floats();
        Assert.All(values, value => Assert.True(value == 0 || Math.Abs(value - (4 / 3f)) < 1e-6));
        Assert.InRange(values.Average(), 0.97, 1.03);

        layer.eval();
        Assert.All(layer.call(input).Floats(), value => Assert.Equal(1, value));
    }

    [Fact]
    public void Dropout2d_drops_whole_channels()
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        using var layer = nn.Dropout2d(0.5);

        var sums = layer.call(ones(8, 16, 3, 3)).sum([-1L, -2L]).Floats();

        Assert.All(sums, sum => Assert.True(sum is 0 or 18));
        Assert.Contains(0, sums);
        Assert.Contains(18, sums);
    }

    [Fact]
    public void Shapes_fold_and_unfold()
    {
        using var scope = NewDisposeScope();
        Assert.Equal([2, 12], nn.Flatten().call(zeros(2, 3, 4)).shape);
        Assert.Equal([2, 3, 4], nn.Unflatten(1, [3, 4]).call(zeros(2, 12)).shape);
        Assert.Equal([1, 2, 2, 2], nn.MaxPool2d(2).call(zeros(1, 2, 4, 5)).shape);
        Assert.Equal([1, 2, 1, 1], nn.AdaptiveAvgPool2d(1).call(zeros(1, 2, 4, 5)).shape);
    }
}
