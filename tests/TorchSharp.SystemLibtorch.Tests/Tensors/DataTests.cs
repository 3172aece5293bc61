using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Tensors;

public class DataTests
{
    public static TheoryData<Array> Arrays => [
        new[] { 1.5f, -2f }, new[] { 1.5, -2.0 }, new[] { 1L, long.MinValue }, new[] { 1, int.MaxValue },
        new short[] { 1, -7 }, new byte[] { 0, 255 }, new sbyte[] { -128, 127 }, new[] { true, false },
        new[] { (Half)0.5, (Half)(-65504) },
    ];

    [Theory]
    [MemberData(nameof(Arrays))]
    public void Every_type_round_trips(Array array)
    {
        using var scope = NewDisposeScope();
        var t = from_array(array);
        // By element type: the runtime lets a pattern take byte[] for sbyte[].
        Array back = Type.GetTypeCode(array.GetType().GetElementType()) switch
        {
            TypeCode.Single => t.data<float>().ToArray(),
            TypeCode.Double => t.data<double>().ToArray(),
            TypeCode.Int64 => t.data<long>().ToArray(),
            TypeCode.Int32 => t.data<int>().ToArray(),
            TypeCode.Int16 => t.data<short>().ToArray(),
            TypeCode.Byte => t.data<byte>().ToArray(),
            TypeCode.SByte => t.data<sbyte>().ToArray(),
            TypeCode.Boolean => t.data<bool>().ToArray(),
            _ => t.data<Half>().ToArray(),
        };
        Assert.Equal(array, back);
    }

    [Fact]
    public void Data_of_another_type_is_refused()
    {
        using var t = zeros(1);
        Assert.Throws<ArgumentException>(() => t.data<double>());
        Assert.Throws<ArgumentException>(() => t.item<long>());
        using var two = zeros(2);
        Assert.Throws<ArgumentException>(() => two.item<float>());
    }

    [Fact]
    public void Strided_tensors_are_read_in_row_major_order()
    {
        using var scope = NewDisposeScope();
        var t = arange(6).reshape(2, 3).t();
        Assert.Equal([0L, 3, 1, 4, 2, 5], t.data<long>().ToArray());
        Assert.Equal(4, t.data<long>()[1, 1]);
        Assert.Equal(1, t.data<long>()[2]);
        Assert.Equal([0L, 3, 1, 4, 2, 5], t.data<long>());
        Assert.Equal(5L, ((long[,])t.data<long>().ToNDArray())[2, 1]);
    }

    [Fact]
    public void An_accessor_writes_in_place()
    {
        using var scope = NewDisposeScope();
        var t = zeros(2, 2);
        var data = t.data<float>();
        data[1, 0] = 5;
        data.CopyFrom([7f], tensorIndex: 3);
        Assert.Equal([0f, 0, 5, 7], t.data<float>().ToArray());
        var two = new float[2];
        data.CopyTo(two, tensorIndex: 2);
        Assert.Equal([5f, 7], two);
        Assert.Throws<IndexOutOfRangeException>(() => data[4]);
    }

    [Fact]
    public void Bytes_are_the_memory_itself()
    {
        using var scope = NewDisposeScope();
        var t = tensor(new[] { 1f, 2f });
        Assert.Equal(8, t.bytes.Length);
        var copy = t.bytes.ToArray();
        var other = zeros(2);
        other.bytes = copy;
        Assert.True(other.allclose(t));
        Assert.Throws<ArgumentException>(() => other.bytes = new byte[3]);
        var strided = zeros(2, 2).t();
        Assert.Throws<InvalidOperationException>(() => strided.bytes.Length);
    }

    [Fact]
    public void Streams_carry_the_bytes()
    {
        using var scope = NewDisposeScope();
        using var stream = new MemoryStream();
        var t = randn(33, 17);
        t.WriteBytesToStream(stream, 100);
        stream.Position = 0;
        var back = zeros(33, 17);
        back.ReadBytesFromStream(stream, 64);
        Assert.True(back.allclose(t));
        Assert.Throws<EndOfStreamException>(() => back.ReadBytesFromStream(stream));
    }

    [Fact]
    public void Numbers_convert_to_the_types_of_CSharp()
    {
        using var scope = NewDisposeScope();
        Assert.Equal(2.5f, tensor(2.5f).ToSingle());
        Assert.Equal(2L, tensor(2).ToInt64());
        Assert.True(tensor(true).ToBoolean());
        Assert.Equal(1.5, tensor(1.5f).half().ToDouble());
        Assert.Equal(3, tensor(3f).ToScalar().ToInt32());
        Assert.Equal(7L, zeros(2).fill_(7).@long()[1].item<long>());
    }

    [Fact]
    public void A_tensor_prints_its_shape_type_and_device()
    {
        using var t = zeros(2, 3);
        Assert.Equal("[2x3], type = Float32, device = cpu", t.ToString());
    }
}
