using TorchSharp.Modules;
using TorchSharp.SystemLibtorch.Tests.Modules;
using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Functional;

public class ParameterUtilitiesTests
{
    [Fact]
    public void Clipping_scales_the_joint_norm_down_and_returns_the_old_one()
    {
        using var first = WithGradient(3);
        using var second = WithGradient(4);
        Parameter[] parameters = [first, second];

        Assert.Equal(5, nn.utils.clip_grad_norm_(parameters, 10), 5);
        Values.Equal([3], first.grad!);

        Assert.Equal(5, nn.utils.clip_grad_norm_(parameters, 1), 5);
        Values.Equal([0.6], first.grad!, 1e-5);
        Values.Equal([0.8], second.grad!, 1e-5);

        nn.utils.clip_grad_value_(parameters, 0.7);
        Values.Equal([0.7], second.grad!);
    }

    [Fact]
    public void Parameters_go_to_a_vector_and_back()
    {
        using var model = nn.Linear(2, 1);
        using var vector = nn.utils.parameters_to_vector(model.parameters());
        Assert.Equal([3], vector.shape);

        using var other = Values.Row(1, 2, 3);
        nn.utils.vector_to_parameters(other, model.parameters());

        Values.Equal([1, 2], model.weight);
        Values.Equal([3], model.bias!);
        Assert.Equal([1, 2], model.weight.shape);
    }

    private static Parameter WithGradient(float gradient)
    {
        var parameter = nn.Parameter(zeros(1));
        using var value = tensor(new[] { gradient });
        parameter.grad = value;
        return parameter;
    }
}
