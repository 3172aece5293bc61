using TorchSharp.Modules;
using TorchSharp.SystemLibtorch.Tests.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TorchSharp.SystemLibtorch.Tests.Functional;

public class ActivationTests
{
    private static readonly double[] Points = [-2, -0.5, 0, 0.5, 2];

    [Fact]
    public void Functions_have_their_textbook_values()
    {
        using var scope = NewDisposeScope();
        var x = Values.Row(-2, -0.5f, 0, 0.5f, 2);

        Check(F.relu(x), v => Math.Max(v, 0));
        Check(F.silu(x), v => v * Logistic(v));
        Check(F.tanh(x), Math.Tanh);
        Check(F.sigmoid(x), Logistic);
        Check(F.leaky_relu(x, 0.1), v => v < 0 ? 0.1 * v : v);
        Check(F.elu(x, 0.5), v => v < 0 ? 0.5 * (Math.Exp(v) - 1) : v);
        Check(F.softplus(x, beta: 2), v => Math.Log(1 + Math.Exp(2 * v)) / 2);
        Check(F.logsigmoid(x), v => Math.Log(Logistic(v)));
        Check(F.gelu(x, GELU.Approximate.tanh), v =>
            0.5 * v * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (v + (0.044715 * v * v * v)))));
    }

    [Fact]
    public void Gelu_is_exact_unless_asked_otherwise()
    {
        using var scope = NewDisposeScope();

        // x Phi(x), with Phi from tables: Phi(0.5) = 0.6914624613, Phi(2) = 0.9772498681.
        double[] expected = [-2 * 0.0227501319, -0.5 * 0.3085375387, 0, 0.5 * 0.6914624613, 2 * 0.9772498681];
        Values.Equal(expected, F.gelu(Values.Row(-2, -0.5f, 0, 0.5f, 2)));
        Values.Equal(expected, nn.GELU().call(Values.Row(-2, -0.5f, 0, 0.5f, 2)));
    }

    [Fact]
    public void In_place_forms_change_their_input_and_return_another_wrapper()
    {
        using var scope = NewDisposeScope();
        var x = Values.Row(-1, 1);

        var y = F.relu(x, inplace: true);

        Assert.NotSame(x, y);
        Values.Equal([0, 1], x);
        Values.Equal([0, 1], y);
    }

    [Fact]
    public void Softmax_sums_to_one_and_log_softmax_is_its_logarithm()
    {
        using var scope = NewDisposeScope();
        var x = randn(3, 4);

        Values.Equal([1, 1, 1], F.softmax(x, 1).sum(1));
        Assert.True(F.log_softmax(x, 1).exp().allclose(F.softmax(x, 1)));
        Assert.Equal(ScalarType.Float64, F.softmax(x, 1, ScalarType.Float64).dtype);
    }

    [Fact]
    public void Attention_weighs_values_by_the_softmax_of_the_products()
    {
        using var scope = NewDisposeScope();
        var (q, k, v) = (randn(2, 3, 4), randn(2, 5, 4), randn(2, 5, 6));

        var expected = F.softmax(q.matmul(k.transpose(1, 2)).div(2), -1).matmul(v);

        Assert.True(F.scaled_dot_product_attention(q, k, v).allclose(expected, atol: 1e-6));
    }

    [Fact]
    public void Causal_attention_sees_no_later_position()
    {
        using var scope = NewDisposeScope();
        var (q, k, v) = (randn(1, 3, 4), randn(1, 3, 4), randn(1, 3, 2));
        var mask = ones(3, 3, dtype: ScalarType.Bool).tril();

        var causal = F.scaled_dot_product_attention(q, k, v, is_casual: true);

        Assert.True(causal[0, 0].allclose(v[0, 0]));
        Assert.True(causal.allclose(F.scaled_dot_product_attention(q, k, v, mask)));
    }

    private static double Logistic(double v) => 1 / (1 + Math.Exp(-v));

    private static void Check(Tensor found, Func<double, double> expected)
        => Values.Equal([.. Points.Select(expected)], found);
}
