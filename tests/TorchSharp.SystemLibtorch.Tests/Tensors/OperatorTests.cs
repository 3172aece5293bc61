using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Tensors;

public class OperatorTests
{
    private static Tensor Vector(params float[] values) => tensor(values);

    private static float[] Values(Tensor t) => t.data<float>().ToArray();

    [Fact]
    public void Arithmetic_with_tensors_and_numbers()
    {
        using var scope = NewDisposeScope();
        var a = Vector(1, 2, 4);
        Assert.Equal([2f, 4, 8], Values(a + a));
        Assert.Equal([3f, 4, 6], Values(a + 2));
        Assert.Equal([1f, 0, -2], Values(2 - a));
        Assert.Equal([1f, 0.5f, 0.25f], Values(1 / a));
        Assert.Equal([1f, 0, 0], Values(a % 2));
        Assert.Equal([-1f, -2, -4], Values(-a));
        Assert.Equal([2f, 4, 8], Values(a * 2.0));
        Assert.Equal([3f, 6, 12], Values(a.add(a, alpha: 2)));
        Assert.Equal([0f, 1, 2], Values(a.div(2, RoundingMode.floor)));
        Assert.Equal(ScalarType.Float32, (a * 2.5).dtype);
        Assert.Equal(ScalarType.Int64, (arange(3) * 2).dtype);
    }

    [Fact]
    public void Comparison_and_logic()
    {
        using var scope = NewDisposeScope();
        var a = Vector(1, 2, 3);
        Assert.Equal([false, true, true], (a >= 2).data<bool>().ToArray());
        Assert.Equal([false, true, false], (a.eq(2) & a.gt(1)).data<bool>().ToArray());
        Assert.Equal([true, false, true], (~(a == 2)).data<bool>().ToArray());
        Assert.True((2 < a)[2].ToBoolean());
        Assert.True(a.isfinite().all().ToBoolean());
        Assert.True(a.Equals(Vector(1, 2, 3)));
    }

    [Fact]
    public void In_place_operators_return_the_tensor_itself()
    {
        using var scope = NewDisposeScope();
        var a = Vector(1, 4, 9);
        Assert.Same(a, a.add_(1).sub_(1).mul_(2).div_(2).sqrt_().clamp_(max: 2));
        Assert.Equal([1f, 2, 2], Values(a));
        Assert.Same(a, a.addcmul_(a, a, 1).addcdiv_(a, a, 1));
        Assert.Equal([3f, 7, 7], Values(a));
        Assert.Same(a, a.fill_(0).copy_(Vector(1, 2, 3)).masked_fill_(a > 2, 0));
    }

    [Fact]
    public void Reductions_over_all_and_along_dimensions()
    {
        using var scope = NewDisposeScope();
        var a = tensor(new float[,] { { 1, 2 }, { 3, 6 } });
        Assert.Equal(12, a.sum().ToSingle());
        Assert.Equal([4f, 8], Values(a.sum(0L)));
        Assert.Equal([2, 1], a.sum([1], keepdim: true).shape);
        Assert.Equal(ScalarType.Float64, a.sum(0L, type: float64).dtype);
        Assert.Equal([1.5f, 4.5f], Values(a.mean([1])));
        Assert.Equal(6, a.max().ToSingle());
        var (values, indexes) = a.max(1);
        Assert.Equal([2f, 6], Values(values));
        Assert.Equal([1L, 1], indexes.data<long>().ToArray());
        Assert.Equal([3f, 6], Values(a.amax(0)));
        Assert.Equal(3, a.argmax().ToInt64());
        Assert.Equal(Math.Sqrt(50), a.norm().ToDouble(), 5);
        Assert.Equal(2, a.std(1, unbiased: false)[1].ToSingle() + a.std(1, unbiased: false)[0].ToSingle(), 5);
        Assert.Equal(14f / 3, a.var().ToSingle(), 5);
        Assert.Equal(4, a.count_nonzero().ToInt64());
        Assert.Equal([3f, 9], Values(a.cumsum(1)[TensorIndex.Colon, TensorIndex.Single(1)]));
    }

    [Fact]
    public void Sorting_orders_and_says_where_from()
    {
        using var scope = NewDisposeScope();
        var a = Vector(3, 1, 2);
        var (values, indices) = a.sort();
        Assert.Equal([1f, 2, 3], Values(values));
        Assert.Equal([1L, 2, 0], indices.data<long>().ToArray());
        Assert.Equal([0L, 2], a.topk(2).indexes.data<long>().ToArray());
        Assert.Equal([0L, 2, 1], a.argsort(descending: true).data<long>().ToArray());
        var (output, inverse, counts) = Vector(2, 1, 2).unique(return_inverse: true, return_counts: true);
        Assert.Equal([1f, 2], Values(output));
        Assert.Equal([1L, 0, 1], inverse!.data<long>().ToArray());
        Assert.Equal([1L, 2], counts!.data<long>().ToArray());
    }

    [Fact]
    public void Shapes_change_without_the_numbers()
    {
        using var scope = NewDisposeScope();
        var a = arange(6);
        Assert.Equal([2, 3], a.view(2, 3).shape);
        Assert.Equal([3, 2], a.reshape(2, -1).T.shape);
        Assert.Equal([6, 1], a.unsqueeze(1).shape);
        Assert.Equal([6], a.reshape(1, 6, 1).squeeze().shape);
        Assert.Equal([1, 6], a.reshape(1, 6, 1).squeeze(-1).shape);
        Assert.Equal([2, 6], a.expand(2, 6).shape);
        Assert.Equal([1, 2, 3], a.reshape(2, 3, 1).permute(2, 0, 1).shape);
        Assert.Equal([3, 1, 2], a.reshape(1, 2, 3).movedim([2], [0]).shape);
        Assert.Equal([6], a.reshape(1, 2, 3).flatten().shape);
        Assert.Equal([1, 2, 3, 1], a.reshape(1, 6, 1).unflatten(1, 2, 3).shape);
        Assert.Equal([2L, 2, 2], a.split(2).Select(t => t.numel()));
        Assert.Equal([1L, 5], a.split([1L, 5]).Select(t => t.numel()));
        Assert.Equal([4, 3], a.unfold(0, 3, 1).shape);
        Assert.Equal([5L, 4, 3, 2, 1, 0], a.flip(0).data<long>().ToArray());
        Assert.Equal([5L, 0, 1, 2, 3, 4], a.roll(1).data<long>().ToArray());
        Assert.Equal([2L, 1], a.view(2, 3).t().stride().Order().Reverse().Select(s => s == 3 ? 2L : s));
    }

    [Fact]
    public void Joining_puts_tensors_together()
    {
        using var scope = NewDisposeScope();
        Assert.Equal([4, 2], cat([zeros(1, 2), ones(3, 2)]).shape);
        Assert.Equal([2, 3], stack([zeros(3), ones(3)]).shape);
        Assert.Equal([1f, 0], Values(where(tensor(new[] { true, false }), ones(2), zeros(2))));
        Assert.Equal([2L], where(tensor(new[] { false, false, true }))[0].data<long>().ToArray());
        Assert.Throws<ArgumentException>(() => cat(Array.Empty<Tensor>()));
    }

    [Fact]
    public void Products_agree_with_each_other()
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        var a = randn(4, 5, dtype: float64);
        var b = randn(5, 3, dtype: float64);
        var expected = a.mm(b);
        Assert.True(a.matmul(b).allclose(expected));
        Assert.True(einsum("ij,jk->ik", a, b).allclose(expected));
        Assert.True(a.unsqueeze(0).bmm(b.unsqueeze(0))[0].allclose(expected));
        Assert.True(zeros(4, 3, dtype: float64).addmm(a, b).allclose(expected));
        Assert.True(a.mv(b[TensorIndex.Colon, TensorIndex.Single(0)]).allclose(expected[TensorIndex.Colon, TensorIndex.Single(0)]));
        Assert.True(outer(a[0], a[1]).allclose(a[0].unsqueeze(1) * a[1]));
        Assert.True(a[0].dot(a[1]).allclose((a[0] * a[1]).sum()));
    }

    [Fact]
    public void Half_and_bool_compute_where_libtorch_does()
    {
        using var scope = NewDisposeScope();
        var half = Vector(1, 2).half();
        Assert.Equal(ScalarType.Float16, half.mul(2).dtype);
        Assert.Equal([2f, 4], Values(half.mul(2).@float()));
        Assert.Equal(1, tensor(new[] { true, false }).sum().ToInt64());
        Assert.Equal([true, true], tensor(new[] { true, false }).bitwise_or(tensor(new[] { true, true })).data<bool>().ToArray());
    }

    [Fact]
    public void Conversions_copy_only_where_they_must()
    {
        using var scope = NewDisposeScope();
        var a = zeros(1);
        a.to(float32).fill_(1);
        Assert.Equal(1, a.ToSingle());
        a.to(float32, copy: true).fill_(2);
        Assert.Equal(1, a.ToSingle());
        Assert.Equal(ScalarType.Int64, a.to(int64).dtype);
        Assert.Equal(ScalarType.Float64, a.type_as(zeros(1, dtype: float64)).dtype);
        a.clone().fill_(5);
        Assert.Equal(1, a.cpu().ToSingle());
        a.alias().fill_(6);
        Assert.Equal(6, a.ToSingle());
    }
}
