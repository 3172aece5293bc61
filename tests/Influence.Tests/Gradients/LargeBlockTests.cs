using Influence.Curvature;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>Blocks that are too large to be written out at once are worked on in pieces, which must not change a number.</summary>
public class LargeBlockTests
{
    /// <summary>Six million numbers in the batch: several bands, the last one narrower. The bound is rounding of sums over 160,000
    /// terms.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ProductsByBandsAreThoseOfWhatIsWrittenOut(bool bias)
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(3);
        var (a, d) = (randn([40, 2, 513], float64), randn([40, 2, 307], float64));
        var block = Block(a, d, bias);
        Tensor[] queries = bias ? [randn([3, 307 * 513], float64), randn([3, 307], float64)] : [randn([3, 307 * 513], float64)];
        var products = ones([3, 40], float64);
        block.AddWrittenProducts(products, queries, ProductArithmetic.Own);

        var expected = 1 + queries[0].mm(d.transpose(1, 2).matmul(a).reshape(40, -1).t());
        expected = bias ? expected + queries[1].mm(d.sum(1).t()) : expected;
        Assert.True(allclose(expected, products, rtol: 1e-10, atol: 1e-9));
    }

    /// <summary>1.2 million numbers of spectrum: two pieces, the second shorter, beside each example alone.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void InversesByPiecesAreThoseOfSingleExamples(int positions)
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(4);
        var (a, d) = (randn([31, positions, 199], float64), randn([31, positions, 200], float64));
        using var input = Basis(200);
        using var output = Basis(200);
        using var inverse = new KroneckerInverse(input, output, rand([200, 200], float64), 0.1, separable: false);
        var parts = inverse.Dense(Block(a, d, bias: true));
        for (var i = 0; i < 31; i++)
        {
            var alone = inverse.Dense(Block(a[i].unsqueeze(0), d[i].unsqueeze(0), bias: true));
            Assert.True(allclose(alone[0][0], parts[0][i], rtol: 1e-10, atol: 1e-10));
            Assert.True(allclose(alone[1][0], parts[1][i], rtol: 1e-10, atol: 1e-10));
        }
    }

    private static FactoredGradients Block(Tensor a, Tensor d, bool bias) => new(() => a.alias(), d, a.shape[2], weight: true, bias: bias);

    private static FactorBasis Basis(long size)
    {
        using var scope = NewDisposeScope();
        var x = randn([size, size], float64);
        return FactorBasis.Of([x.matmul(x.t())], ScalarType.Float64, CPU);
    }
}
