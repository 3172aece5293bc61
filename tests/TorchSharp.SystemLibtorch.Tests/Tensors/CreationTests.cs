using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Tensors;

public class CreationTests
{
    [Fact]
    public void Factories_give_shape_type_and_values()
    {
        using var scope = NewDisposeScope();
        Assert.Equal([2, 3], zeros(2, 3).shape);
        Assert.Equal(ScalarType.Float32, ones(4).dtype);
        Assert.Equal(ScalarType.Float64, full([2], 3, dtype: float64).dtype);
        Assert.Equal([3L, 3], full(2, 3).data<long>().ToArray());
        Assert.Equal([2.5f], full(1, 2.5).data<float>().ToArray());
        Assert.Equal([0L, 2, 4], arange(0, 6, 2).data<long>().ToArray());
        Assert.Equal(ScalarType.Float32, arange(0, 1, 0.5).dtype);
        Assert.Equal([0f, 0.5f, 1f], linspace(0, 1, 3).data<float>().ToArray());
        Assert.Equal([1f, 0, 0, 1], eye(2).data<float>().ToArray());
        Assert.Equal(2, empty(2, 5).size(0));
        Assert.True(zeros(1, requires_grad: true).requires_grad);
    }

    [Fact]
    public void Arrays_become_tensors_of_their_type_and_shape()
    {
        using var scope = NewDisposeScope();
        Assert.Equal(ScalarType.Float32, tensor(new[] { 1f, 2f }).dtype);
        Assert.Equal(ScalarType.Float64, tensor(new[] { 1d, 2d }).dtype);
        Assert.Equal(ScalarType.Int64, tensor(new[] { 1L, 2L }).dtype);
        Assert.Equal(ScalarType.Int32, tensor(new[] { 1, 2 }).dtype);
        Assert.Equal(ScalarType.Bool, tensor(new[] { true, false }).dtype);
        Assert.Equal(ScalarType.Byte, tensor(new byte[] { 1, 2 }).dtype);
        Assert.Equal(ScalarType.Float16, tensor(new[] { (Half)1 }).dtype);
        Assert.Equal([2, 3], tensor(new float[,] { { 1, 2, 3 }, { 4, 5, 6 } }).shape);
        Assert.Equal([2, 2], tensor(new float[] { 1, 2, 3, 4 }, [2L, 2]).shape);
        Assert.Equal([2, 2], tensor(new List<long> { 1, 2, 3, 4 }, 2, 2).shape);
        Assert.Equal(ScalarType.Float64, tensor(new[] { 1f }, dtype: float64).dtype);
        Assert.Equal([3, 1, 2], from_array(new double[3, 1, 2]).shape);
        Assert.Empty(tensor(1.5).shape);
        Assert.Equal(ScalarType.Float64, tensor(1.5).dtype);
    }

    [Fact]
    public void A_tensor_does_not_share_the_array()
    {
        var array = new[] { 1f, 2f };
        using var t = tensor(array);
        array[0] = 9;
        Assert.Equal(1f, t[0].item<float>());
    }

    [Fact]
    public void Too_few_elements_are_refused() =>
        Assert.Throws<ArgumentException>(() => tensor(new[] { 1f, 2f }, [2L, 2]));

    [Fact]
    public void Like_keeps_type_and_takes_options()
    {
        using var scope = NewDisposeScope();
        var t = ones(2, 2, dtype: float64);
        Assert.Equal(ScalarType.Float64, t.zeros_like().dtype);
        Assert.Equal(ScalarType.Float32, zeros_like(t, dtype: float32).dtype);
        Assert.Equal(4, full_like(t, 1).sum().ToDouble());
        Assert.True(t.randn_like(requires_grad: true).requires_grad);
        Assert.Equal([3], t.new_zeros([3]).shape);
    }

    [Fact]
    public void The_default_type_decides_what_factories_make()
    {
        using var scope = NewDisposeScope();
        set_default_dtype(float64);
        try
        {
            Assert.Equal(ScalarType.Float64, zeros(1).dtype);
            Assert.Equal(ScalarType.Float64, rand(1).dtype);
        }
        finally
        {
            set_default_dtype(float32);
        }

        Assert.Throws<ArgumentException>(() => set_default_dtype(int64));
    }

    [Fact]
    public void Numbers_and_arrays_convert_where_a_tensor_is_expected()
    {
        using var scope = NewDisposeScope();
        Tensor number = 3f;
        Tensor list = new[] { 1L, 2 };
        Assert.Equal(3f, (float)number);
        Assert.Equal(3, list.sum().ToInt64());
        Assert.True((bool)tensor(true));
    }
}
