using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Tensors;

/// <summary>What libtorch refuses arrives as an exception with its words, and the process lives on.</summary>
public class ErrorTests
{
    [Fact]
    public void A_shape_mismatch_says_the_shapes()
    {
        using var scope = NewDisposeScope();
        var error = Assert.Throws<ExternalException>(() => zeros(2, 3).mm(zeros(2, 3)));
        Assert.StartsWith("mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)", error.Message, StringComparison.Ordinal);
        Assert.Throws<ExternalException>(() => zeros(2) + zeros(3));
        Assert.Throws<ExternalException>(() => zeros(2).view(3));
    }

    [Fact]
    public void Matmul_does_not_end_the_process()
    {
        using var scope = NewDisposeScope();
        Assert.Throws<ExternalException>(() => zeros(2, 3).matmul(zeros(2, 3)));
        Assert.Throws<ExternalException>(() => zeros(2, 3).matmul(zeros(3, 2, dtype: float64)));
    }

    [Fact]
    public void Autograd_errors_do_not_end_the_process()
    {
        using var scope = NewDisposeScope();
        var x = ones(1, requires_grad: true);
        var unused = ones(1, requires_grad: true);
        Assert.Throws<ExternalException>(() => autograd.grad([ones(1)], [x]));
        Assert.Throws<ExternalException>(() => autograd.grad([x * 2], [unused]));
        Assert.Throws<ExternalException>(() => autograd.grad([ones(2) * x], [x]));
        var y = (x * x).sum();
        autograd.grad([y], [x]);
        Assert.Throws<ExternalException>(() => autograd.grad([y], [x]));
        Assert.Throws<ExternalException>(() => zeros(1, dtype: int64).requires_grad_());
    }

    [Fact]
    public void A_message_is_one_line()
    {
        using var t = zeros(2, 2);
        var error = Assert.Throws<ExternalException>(() => t.reshape(3));
        Assert.DoesNotContain('\n', error.Message.TrimEnd());
    }

    [Fact]
    public void A_disposed_tensor_is_refused_everywhere()
    {
        var t = zeros(2);
        t.Dispose();
        t.Dispose();
        Assert.True(t.IsInvalid);
        Assert.Throws<InvalidOperationException>(() => t.Handle);
        Assert.Throws<InvalidOperationException>(() => t.shape);
        Assert.Throws<InvalidOperationException>(() => t.add(1));
        Assert.Throws<InvalidOperationException>(() => stack([t]));
        using var live = zeros(2);
        Assert.Throws<InvalidOperationException>(() => live.add(t));
    }

    [Fact]
    public void An_unknown_device_is_refused()
    {
        Assert.Throws<ArgumentException>(() => device("nowhere"));
        if (!cuda.is_available())
        {
            Assert.ThrowsAny<Exception>(() => zeros(1, device: device("cuda")));
        }
    }
}
