using TorchSharp.Modules;
using TorchSharp.SystemLibtorch.Tests.Modules;
using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Optim;

public class OptimizerTests
{
    [Fact]
    public void Sgd_subtracts_the_scaled_gradient()
    {
        using var p = nn.Parameter(Values.Row(1, -2));
        using var optimizer = optim.SGD([p], 0.1);

        Step(optimizer, p, 10, 20);

        Values.Equal([0, -4], p);
        Assert.True(p.requires_grad && p.is_leaf);
    }

    [Fact]
    public void Sgd_with_momentum_decay_and_dampening_follows_the_formula()
    {
        using var p = nn.Parameter(Values.Row(1));
        using var optimizer = optim.SGD([p], 0.1, momentum: 0.9, dampening: 0.5, weight_decay: 0.2);
        double value = 1, buffer = 0;
        for (var step = 0; step < 3; step++)
        {
            var g = 3 + (0.2 * value);
            buffer = step == 0 ? g : (0.9 * buffer) + (0.5 * g);
            value -= 0.1 * buffer;
            Step(optimizer, p, 3);
            Values.Equal([value], p);
        }

        var state = (SGD.State)optimizer.state_dict().State[0];
        Values.Equal([buffer], state.momentum_buffer);
    }

    [Fact]
    public void Nesterov_looks_ahead_and_maximize_climbs()
    {
        using var p = nn.Parameter(Values.Row(1));
        using var q = nn.Parameter(Values.Row(1));
        using var nesterov = optim.SGD([p], 0.1, momentum: 0.9, nesterov: true);
        using var climbing = optim.SGD([q], 0.1, maximize: true);

        Step(nesterov, p, 2);
        Step(climbing, q, 2);

        Values.Equal([1 - (0.1 * (2 + (0.9 * 2)))], p);
        Values.Equal([1.2], q);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void Adam_follows_the_formula(bool decoupled, bool amsgrad)
    {
        const double Rate = 0.1, Beta1 = 0.8, Beta2 = 0.9, Epsilon = 1e-3, Decay = 0.05;
        using var p = nn.Parameter(Values.Row(1));
        using OptimizerHelper optimizer = decoupled
            ? optim.AdamW([p], Rate, Beta1, Beta2, Epsilon, Decay, amsgrad)
            : optim.Adam([p], Rate, Beta1, Beta2, Epsilon, Decay, amsgrad);
        double value = 1, mean = 0, square = 0, largest = 0;
        double[] gradients = [2, -1, 0.5];
        for (var t = 1; t <= gradients.Length; t++)
        {
            var g = gradients[t - 1] + (decoupled ? 0 : Decay * value);
            value *= decoupled ? 1 - (Rate * Decay) : 1;
            mean = (Beta1 * mean) + ((1 - Beta1) * g);
            square = (Beta2 * square) + ((1 - Beta2) * g * g);
            largest = Math.Max(largest, square);
            var spread = Math.Sqrt((amsgrad ? largest : square) / (1 - Math.Pow(Beta2, t)));
            value -= Rate / (1 - Math.Pow(Beta1, t)) * mean / (spread + Epsilon);

            Step(optimizer, p, (float)gradients[t - 1]);
            Values.Equal([value], p, 1e-5);
        }

        if (optimizer.state_dict().State[0] is Adam.State state)
        {
            Assert.Equal(3, state.step);
            Values.Equal([mean], state.exp_avg, 1e-5);
            Values.Equal([square], state.exp_avg_sq, 1e-5);
            Assert.Equal(amsgrad, state.max_exp_avg_sq is not null);
        }
    }

    [Fact]
    public void Parameters_without_a_gradient_stay()
    {
        using var p = nn.Parameter(Values.Row(1));
        using var optimizer = optim.Adam([p]);

        optimizer.step();

        Values.Equal([1], p);
        Assert.Equal(0, ((Adam.State)optimizer.state_dict().State[0]).step);
    }

    [Fact]
    public void Zero_grad_zeroes_and_step_returns_the_closures_loss()
    {
        using var scope = NewDisposeScope();
        using var p = nn.Parameter(Values.Row(3));
        using var optimizer = optim.SGD([p], 0.5);

        var loss = optimizer.step(() =>
        {
            optimizer.zero_grad();
            var value = p.square().sum();
            value.backward();
            return value;
        });

        Values.Equal([9], loss);
        Values.Equal([0], p);
        optimizer.zero_grad();
        Values.Equal([0], p.grad!);
    }

    [Fact]
    public void Groups_have_their_own_rates()
    {
        using var p = nn.Parameter(Values.Row(0));
        using var q = nn.Parameter(Values.Row(0));
        using var optimizer = optim.SGD(
            [new SGD.ParamGroup([p], lr: 1), new SGD.ParamGroup { Parameters = [q] }], 0.1);
        Assert.Equal([1, 0.1], optimizer.ParamGroups.Select(group => group.LearningRate));

        optimizer.ParamGroups.First().LearningRate = 2;
        Step(optimizer, p, 1);
        Step(optimizer, q, 1);

        Values.Equal([-4], p);
        Values.Equal([-0.1], q);
        Assert.Equal([[0], [1]], optimizer.state_dict().StateIndexRef);
    }

    [Fact]
    public void Settings_are_checked()
    {
        using var p = nn.Parameter(zeros(1));

        Assert.Throws<ArgumentException>(() => optim.SGD([p], -1));
        Assert.Throws<ArgumentException>(() => optim.SGD([p], 1, nesterov: true));
        Assert.Throws<ArgumentException>(() => optim.Adam([p], beta1: 1));
        Assert.Throws<ArgumentException>(() => optim.AdamW([p], eps: -1));
    }

    internal static void Step(OptimizerHelper optimizer, Parameter parameter, params float[] gradient)
    {
        using var value = tensor(gradient);
        parameter.grad = value;
        optimizer.step();
    }
}
