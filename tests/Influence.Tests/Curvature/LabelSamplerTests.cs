using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>
/// Frequencies of drawn labels against their probabilities. Each bound is the one that a fair draw breaks for one seed in a
/// million; the seed is fixed, so that a test that passes once passes always.
/// </summary>
public class LabelSamplerTests
{
    private const int Draws = 40_000;

    /// <summary>Chi-square at 1e-6, by degrees of freedom.</summary>
    private static readonly Dictionary<int, double> Bound = new()
    {
        [3] = 30.66,
        [9] = 44.81,
        [15] = 56.49,
    };

    private static readonly double[] Logits = [0.3, -1.2, 1.1, 0];

    private static double[] Probabilities
    {
        get
        {
            var e = Logits.Select(Math.Exp).ToArray();
            return [.. e.Select(x => x / e.Sum())];
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(-5)]
    public void Classes(long seed)
    {
        using var scope = NewDisposeScope();
        var labels = Sampler(seed, Draws).Categorical(Same(Draws));
        Assert.Equal(ScalarType.Int64, labels.dtype);
        AssertFrequencies(Counts(labels, 4), Probabilities);
    }

    /// <summary>Pairs of draws whose keys are neighbours are independent: all sixteen pairs have the product of their
    /// probabilities.</summary>
    [Theory]
    [InlineData("positions")]
    [InlineData("draws")]
    [InlineData("ids")]
    [InlineData("seeds")]
    public void NeighboursAreIndependent(string what)
    {
        using var scope = NewDisposeScope();
        var sampler = Sampler(3, Draws);
        var (first, second) = what switch
        {
            "positions" => Columns(sampler.Categorical(Same(Draws, 2))),
            "draws" => (sampler.Categorical(Same(Draws)), sampler.Categorical(Same(Draws))),
            "ids" => Halves(Sampler(3, 2 * Draws).Categorical(Same(2 * Draws))),
            _ => (sampler.Categorical(Same(Draws)), Sampler(4, Draws).Categorical(Same(Draws))),
        };

        AssertFrequencies(Counts((first * 4) + second, 16), [.. Probabilities.SelectMany(p => Probabilities.Select(q => p * q))]);

        static (Tensor First, Tensor Second) Columns(Tensor pairs) => (pairs.select(1, 0), pairs.select(1, 1));
        static (Tensor First, Tensor Second) Halves(Tensor labels) => Columns(labels.reshape(-1, 2));
    }

    /// <summary>The mean of n zeros and ones lies within 4.9 standard deviations.</summary>
    [Theory]
    [InlineData(-2)]
    [InlineData(0)]
    [InlineData(0.7)]
    public void ZerosAndOnes(double logit)
    {
        using var scope = NewDisposeScope();
        var labels = Sampler(5, Draws).Bernoulli(full([Draws], logit, dtype: float64));
        var p = 1 / (1 + Math.Exp(-logit));

        Assert.True(labels.eq(0).logical_or(labels.eq(1)).all().item<bool>());
        Assert.InRange(labels.mean().item<double>() - p, -4.9 * Math.Sqrt(p * (1 - p) / Draws), 4.9 * Math.Sqrt(p * (1 - p) / Draws));
    }

    /// <summary>Ten bins of equal probability, by the deciles of the standard normal distribution.</summary>
    [Fact]
    public void NormalValues()
    {
        using var scope = NewDisposeScope();
        double[] deciles = [-1.281551566, -0.841621234, -0.524400513, -0.253347103, 0, 0.253347103, 0.524400513, 0.841621234, 1.281551566];
        var values = Sampler(6, Draws).Normal(full([Draws], 3, dtype: float64), 0.5);
        var bin = deciles.Select(d => values.gt(3 + (0.5 * d)).to_type(ScalarType.Int64)).Aggregate((a, b) => a + b);

        AssertFrequencies(Counts(bin, 10), [.. Enumerable.Repeat(0.1, 10)]);
    }

    /// <summary>Narrow values are the wide ones rounded: no draw of a narrow model falls on a logarithm of zero.</summary>
    [Fact]
    public void NarrowNormalValuesAreTheWideOnes()
    {
        using var scope = NewDisposeScope();
        var wide = Sampler(8, 500).Normal(zeros([500, 3], float64), 2);
        var narrow = Sampler(8, 500).Normal(zeros([500, 3], float32), 2);

        Assert.Equal(ScalarType.Float32, narrow.dtype);
        Assert.Equal(wide.to_type(float32).data<float>().ToArray(), narrow.data<float>().ToArray());
    }

    /// <summary>Draws are keyed by id and position: neither the batch nor the padding moves them.</summary>
    [Fact]
    public void BatchOrderAndPaddingMoveNothing()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(71);
        var logits = randn([6, 4, 5], dtype: float64);
        long[] ids = [4, 9, 2, 30, 7, 1];
        var whole = new InfluenceTask.Sampler(1, ids).Categorical(logits);
        long[] order = [5, 0, 3];
        var index = tensor(order);

        var part = new InfluenceTask.Sampler(1, [.. order.Select(i => ids[i])]).Categorical(logits.index_select(0, index));
        var shorter = new InfluenceTask.Sampler(1, ids).Categorical(logits.narrow(1, 0, 2));

        Assert.Equal(whole.index_select(0, index).data<long>().ToArray(), part.data<long>().ToArray());
        Assert.Equal(whole.narrow(1, 0, 2).contiguous().data<long>().ToArray(), shorter.data<long>().ToArray());
        Assert.NotEqual(whole.data<long>().ToArray(), new InfluenceTask.Sampler(2, ids).Categorical(logits).data<long>().ToArray());
    }

    [Fact]
    public void LogitsOfAnotherBatchAreRefused()
    {
        using var scope = NewDisposeScope();
        var thrown = Assert.Throws<InfluenceException>(() => Sampler(0, 3).Categorical(zeros([4, 2], float64)));
        Assert.Contains("[4]", thrown.Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => Sampler(0, 3).Bernoulli(zeros([], float64)));
    }

    /// <summary>A class of probability one is always drawn, one of zero never.</summary>
    [Fact]
    public void CertainLabels()
    {
        using var scope = NewDisposeScope();
        var logits = tensor(new double[] { -1e4, 1e4, -1e4 }).unsqueeze(0).expand(2000, 3);
        Assert.Equal(2000, Sampler(0, 2000).Categorical(logits).sum().item<long>());
        Assert.Equal(2000, Sampler(0, 2000).Categorical(logits.to_type(float32)).sum().item<long>());
    }

    private static InfluenceTask.Sampler Sampler(long seed, int examples) =>
        new(seed, [.. Enumerable.Range(0, examples).Select(i => (long)i)]);

    private static Tensor Same(params long[] shape) => tensor(Logits).expand([.. shape, 4]);

    private static double[] Counts(Tensor labels, int classes) =>
        [.. Enumerable.Range(0, classes).Select(c => (double)labels.eq(c).sum().item<long>())];

    private static void AssertFrequencies(double[] counts, double[] probabilities)
    {
        var expected = probabilities.Select(p => p * counts.Sum()).ToArray();
        var square = counts.Zip(expected, (c, e) => (c - e) * (c - e) / e).Sum();
        Assert.Equal(Draws, counts.Sum());
        Assert.True(square < Bound[counts.Length - 1], $"chi-square {square:F1} with {counts.Length - 1} degrees of freedom");
    }
}
