using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Tensors;

public class IndexingTests
{
    private static readonly TensorIndex All = TensorIndex.Colon;

    private static Tensor Grid() => arange(24).reshape(2, 3, 4);

    private static long[] Values(Tensor t) => t.data<long>().ToArray();

    [Fact]
    public void Single_indices_choose_and_count_from_the_end()
    {
        using var scope = NewDisposeScope();
        Assert.Equal(23, Grid()[1, 2, 3].ToInt64());
        Assert.Equal([20L, 21, 22, 23], Values(Grid()[-1, -1]));
        Assert.Equal(20, Grid()[^1, ^1, 0].ToInt64());
        Assert.Equal([3, 4], Grid()[0].shape);
    }

    [Fact]
    public void Slices_take_ranges_and_steps()
    {
        using var scope = NewDisposeScope();
        Assert.Equal([4L, 5], Values(Grid()[0, 1, ..2]));
        Assert.Equal([4L, 6], Values(Grid()[0, 1, TensorIndex.Slice(step: 2)]));
        Assert.Equal([11L, 23], Values(Grid()[All, 2, 3]));
        Assert.Equal([3L, 7, 11], Values(Grid()[0, .., ^1]));
        Assert.Equal([2, 2, 4], Grid()[All, 1..].shape);
        Assert.Equal([2, 2, 4], Grid()[All, TensorIndex.Slice(-2, null)].shape);
    }

    [Fact]
    public void Ellipsis_and_new_dimensions_keep_the_rest()
    {
        using var scope = NewDisposeScope();
        Assert.Equal([2, 3], Grid()[TensorIndex.Ellipsis, 0].shape);
        Assert.Equal([2, 1, 3, 4], Grid()[All, TensorIndex.None].shape);
        Assert.Equal([2, 3, 4, 1], Grid()[TensorIndex.Ellipsis, TensorIndex.Null].shape);
        Assert.Equal([2, 4], Grid()[All, TensorIndex.Single(1), TensorIndex.Ellipsis].shape);
    }

    [Fact]
    public void Index_tensors_and_masks_gather()
    {
        using var scope = NewDisposeScope();
        var rows = tensor(new[] { 1L, 0, 1 });
        Assert.Equal([3, 3, 4], Grid()[rows].shape);
        Assert.Equal([12L, 0, 12], Values(Grid()[TensorIndex.Tensor(rows), 0, 0]));
        Assert.Equal([16L, 4, 16], Values(Grid()[TensorIndex.Tensor(rows), TensorIndex.Single(1), TensorIndex.Single(0)]));
        Assert.Equal([22L, 23], Values(Grid()[Grid() > 21]));
        var mask = tensor(new[] { false, true, true });
        Assert.Equal([2, 2, 4], Grid()[All, TensorIndex.Tensor(mask)].shape);
        Assert.Equal([5L, 14], Values(Grid().reshape(6, 4)[tensor(new[] { 1L, 3 }), tensor(new[] { 1L, 2 })]));
    }

    [Fact]
    public void Writing_by_index_changes_the_tensor()
    {
        using var scope = NewDisposeScope();
        var t = zeros(2, 3);
        t[0, 1] = tensor(5f);
        t[1] = tensor(new[] { 7f, 8, 9 });
        Assert.Equal([0f, 5, 0, 7, 8, 9], t.data<float>().ToArray());
        t[All, TensorIndex.Single(0)] = tensor(-1f);
        t[t > 7] = tensor(0f);
        Assert.Equal([-1f, 5, 0, -1, 0, 0], t.data<float>().ToArray());
        t.index_put_(2, TensorIndex.Single(0));
        t.index_put_(tensor(1f), [TensorIndex.Tensor(tensor(new[] { 0L, 0 }))], accumulate: true);
        Assert.Equal([4f, 4, 4], t[0].data<float>().ToArray());
    }

    [Fact]
    public void A_view_shares_memory_and_a_gather_does_not()
    {
        using var scope = NewDisposeScope();
        var t = zeros(3);
        t[0..2].fill_(1);
        t[tensor(new[] { 2L })].fill_(1);
        Assert.Equal([1f, 1, 0], t.data<float>().ToArray());
    }

    [Fact]
    public void Scatter_and_gather_are_inverse()
    {
        using var scope = NewDisposeScope();
        var index = tensor(new long[,] { { 0, 2 }, { 1, 0 } });
        var source = tensor(new float[,] { { 1, 2 }, { 3, 4 } });
        var t = zeros(2, 3).scatter_(1, index, source);
        Assert.True(t.gather(1, index).allclose(source));
        var sums = zeros(3).index_add_(0, tensor(new[] { 0L, 0, 2 }), tensor(new[] { 1f, 2, 3 }), 1);
        Assert.Equal([3f, 0, 3], sums.data<float>().ToArray());
        Assert.Equal([2f, 4], source.masked_select(source.remainder(2) == 0).data<float>().ToArray());
    }

    [Fact]
    public void An_index_outside_fails_and_the_process_lives()
    {
        using var t = zeros(2);
        Assert.Throws<System.Runtime.InteropServices.ExternalException>(() => t[2]);
    }
}
