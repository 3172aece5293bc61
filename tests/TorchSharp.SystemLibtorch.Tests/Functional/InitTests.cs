using TorchSharp.SystemLibtorch.Tests.Modules;
using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Functional;

public class InitTests
{
    [Fact]
    public void Fan_in_and_fan_out_count_the_kernel()
    {
        using var scope = NewDisposeScope();

        Assert.Equal((5, 3), nn.init.CalculateFanInAndFanOut(zeros(3, 5)));
        Assert.Equal((5 * 6, 3 * 6), nn.init.CalculateFanInAndFanOut(zeros(3, 5, 2, 3)));
        Assert.Throws<ArgumentException>(() => nn.init.CalculateFanInAndFanOut(zeros(3)));
    }

    [Fact]
    public void Distributions_have_their_spread()
    {
        using var scope = NewDisposeScope();
        manual_seed(11);
        var x = empty(300, 200);

        Near(nn.init.xavier_uniform_(x), Math.Sqrt(2.0 / 500));
        Near(nn.init.kaiming_normal_(x, nonlinearity: nn.init.NonlinearityType.ReLU), Math.Sqrt(2.0 / 200));
        Near(nn.init.kaiming_uniform_(x, mode: nn.init.FanInOut.FanOut), Math.Sqrt(2.0 / 300));
        Near(nn.init.normal_(x, 0, 0.1), 0.1);
        Near(nn.init.uniform_(x, -1, 1), Math.Sqrt(1.0 / 3));

        static void Near(Tensor sample, double deviation)
        {
            Assert.InRange(sample.Floats().Average(), -0.02, 0.02);
            Assert.InRange(Math.Sqrt(sample.Floats().Average(v => (double)v * v)) / deviation, 0.97, 1.03);
        }
    }

    [Fact]
    public void A_parameter_stays_a_leaf_without_history()
    {
        using var weight = nn.Parameter(empty(2, 2));

        nn.init.xavier_normal_(weight);
        nn.init.constant_(weight, 3);

        Assert.True(weight.requires_grad && weight.is_leaf);
        Values.Equal([3, 3, 3, 3], weight);
    }

    [Fact]
    public void A_truncated_normal_stays_within_its_bounds()
    {
        using var scope = NewDisposeScope();
        var values = nn.init.trunc_normal_(empty(5000), mean: 1, std: 2, a: 0, b: 2).Floats();

        Assert.All(values, value => Assert.InRange(value, 0, 2));
        Assert.InRange(values.Average(), 0.95, 1.05);
    }

    [Fact]
    public void An_orthogonal_matrix_times_its_transpose_is_the_identity()
    {
        using var scope = NewDisposeScope();
        var q = nn.init.orthogonal_(empty(3, 5));

        Assert.True(q.matmul(q.t()).allclose(eye(3), atol: 1e-5));
        Values.Equal([1, 0, 0, 0, 1, 0], nn.init.eye_(empty(2, 3)));
    }
}
