using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Tensors;

public class AutogradTests
{
    [Fact]
    public void Grad_is_the_derivative()
    {
        using var scope = NewDisposeScope();
        var x = tensor(new[] { 1.0, 2, 3 }, requires_grad: true);
        var gradients = autograd.grad([x.pow(3).sum()], [x]);
        Assert.Equal([3.0, 12, 27], gradients[0].data<double>().ToArray());
        Assert.Null(x.grad);
    }

    [Fact]
    public void Backward_accumulates_in_the_leaves()
    {
        using var scope = NewDisposeScope();
        var x = tensor(new[] { 1f, 2f }, requires_grad: true);
        x.square().sum().backward();
        x.square().sum().backward();
        Assert.Equal([4f, 8], x.grad!.data<float>().ToArray());
        x.grad = null;
        Assert.Null(x.grad);
        x.mul(3).backward([tensor(new[] { 1f, 2 })]);
        Assert.Equal([3f, 6], x.grad!.data<float>().ToArray());
    }

    [Fact]
    public void Backward_fills_only_the_inputs_that_are_named()
    {
        using var scope = NewDisposeScope();
        var x = ones(1, requires_grad: true);
        var y = ones(1, requires_grad: true);
        autograd.backward([(x * y).sum()], inputs: [x]);
        Assert.NotNull(x.grad);
        Assert.Null(y.grad);
    }

    [Fact]
    public void Double_backward_gives_Hessian_vector_products()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        var x = randn(4, dtype: float64, requires_grad: true);
        var v = randn(4, dtype: float64);
        var gradient = autograd.grad([x.exp().mul(x).sum()], [x], retain_graph: true, create_graph: true)[0];
        var product = autograd.grad([gradient.dot(v)], [x])[0];
        Assert.True(product.allclose(x.exp().mul(x + 2).mul(v)));
    }

    [Fact]
    public void Grad_outputs_weigh_the_outputs()
    {
        using var scope = NewDisposeScope();
        var x = ones(2, requires_grad: true);
        var weighted = autograd.grad([x * 2, x * 3], [x], [tensor(new[] { 1f, 0 }), tensor(new[] { 0f, 1 })]);
        Assert.Equal([2f, 3], weighted[0].data<float>().ToArray());
    }

    [Fact]
    public void An_unused_input_comes_back_invalid()
    {
        using var scope = NewDisposeScope();
        var x = ones(1, requires_grad: true);
        var unused = ones(1, requires_grad: true);
        var gradients = autograd.grad([x * 2], [x, unused], allow_unused: true);
        Assert.False(gradients[0].IsInvalid);
        Assert.True(gradients[1].IsInvalid);
    }

    [Fact]
    public void Modes_nest_and_are_left_as_they_were()
    {
        using var scope = NewDisposeScope();
        var x = ones(1, requires_grad: true);
        Assert.True(is_grad_enabled());
        using (no_grad())
        {
            Assert.False((x * 2).requires_grad);
            using (enable_grad())
            {
                Assert.True((x * 2).requires_grad);
            }

            Assert.False(is_grad_enabled());
        }

        Assert.True(is_grad_enabled());
        using (set_grad_enabled(false))
        {
            Assert.False(is_grad_enabled());
        }

        using (inference_mode())
        {
            Assert.True(is_inference_mode_enabled());
        }

        Assert.False(is_inference_mode_enabled());
    }

    [Fact]
    public void Detached_tensors_share_memory_and_record_nothing()
    {
        using var scope = NewDisposeScope();
        var x = ones(1, requires_grad: true);
        var y = x * 2;
        Assert.False(y.is_leaf);
        Assert.True(x.is_leaf);
        Assert.False(y.detach().requires_grad);
        y.detach().fill_(9);
        Assert.Equal(9, y.ToSingle());
        y.retain_grad();
        (y * 3).backward();
        Assert.Equal(3, y.grad!.ToSingle());
    }

    [Fact]
    public void Anomaly_mode_is_set_and_left()
    {
        using (autograd.detect_anomaly())
        {
            Assert.True(AnomalyMode.IsEnabled);
        }

        Assert.False(AnomalyMode.IsEnabled);
    }
}
