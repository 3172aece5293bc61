using TorchSharp.SystemLibtorch.Tests.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TorchSharp.SystemLibtorch.Tests.Functional;

public class ShapeTests
{
    [Fact]
    public void Pooling_takes_the_maximum_or_the_mean_of_windows()
    {
        using var scope = NewDisposeScope();
        var x = Values.Row(1, 5, 2, 4, 3, 6).view(1, 1, 6);
        var square = arange(16, dtype: ScalarType.Float32).view(1, 1, 4, 4);

        Values.Equal([5, 4, 6], F.max_pool1d(x, 2));
        Values.Equal([3, 3, 4.5], F.avg_pool1d(x, 2));
        Values.Equal([5, 7, 13, 15], F.max_pool2d(square, 2));
        Values.Equal([2.5, 4.5, 10.5, 12.5], F.avg_pool2d(square, 2));
        Values.Equal([5, 7, 13, 15], F.max_pool2d(square, (2, 2)));
        Values.Equal([7.5], F.adaptive_avg_pool2d(square, 1));
        var (_, indices) = F.max_pool1d_with_indices(x, 2);
        Assert.Equal([1, 3, 5], indices.data<long>().ToArray());
    }

    [Fact]
    public void Unfold_lists_the_windows_and_convolution_is_their_product_with_the_weight()
    {
        using var scope = NewDisposeScope();
        var (x, weight) = (randn(2, 3, 6, 5), randn(4, 3, 3, 2));

        var columns = F.unfold(x, (3, 2), padding: (1, 0));                         // [2, 18, positions]
        var product = weight.view(4, 18).matmul(columns);

        Assert.True(product.view(2, 4, 6, 4).allclose(F.conv2d(x, weight, padding: [1, 0]), atol: 1e-5));
        Assert.Equal([2, 3, 6, 5], F.fold(columns, (6, 5), (3, 2), padding: (1, 0)).shape);
    }

    [Fact]
    public void Pad_widens_from_the_last_dimension()
    {
        using var scope = NewDisposeScope();
        var x = Values.Row(1, 2, 3).view(1, 1, 3);

        Values.Equal([9, 1, 2, 3, 9, 9], F.pad(x, (1, 2), value: 9));
        Values.Equal([2, 1, 2, 3, 2], F.pad(x, (1, 1), PaddingModes.Reflect));
        Values.Equal([1, 1, 2, 3, 3], F.pad(x, (1, 1), PaddingModes.Replicate));
        Values.Equal([3, 1, 2, 3, 1], F.pad(x, (1, 1), PaddingModes.Circular));
        Assert.Equal([1, 3, 5], F.pad(x, new long[] { 1, 1, 1, 1 }).shape);
        Assert.Equal([3, 3, 5], F.pad(x, 1).shape);
    }

    [Fact]
    public void One_hot_codes_and_normal_forms()
    {
        using var scope = NewDisposeScope();

        Values.Equal([0, 1, 1, 0], F.one_hot(tensor(new long[] { 1, 0 })));
        Assert.Equal([2, 4], F.one_hot(tensor(new long[] { 1, 0 }), 4).shape);
        Assert.Throws<ArgumentException>(() => F.one_hot(Values.Row(1)));
        Values.Equal([0.6, 0.8], F.normalize(tensor(new float[,] { { 3, 4 } })));
        Values.Equal([0], F.cosine_similarity(tensor(new float[,] { { 1, 0 } }), tensor(new float[,] { { 0, 2 } })));
    }

    [Fact]
    public void Errors_of_libtorch_arrive_as_exceptions()
    {
        using var scope = NewDisposeScope();

        Assert.ThrowsAny<Exception>(() => F.linear(zeros(2, 3), zeros(4, 5)));
        Assert.ThrowsAny<Exception>(() => F.conv2d(zeros(1, 3, 5, 5), zeros(1, 2, 3, 3)));
        Assert.ThrowsAny<Exception>(() => F.cross_entropy(zeros(2, 3), tensor(new long[] { 0, 7 })));
    }
}
