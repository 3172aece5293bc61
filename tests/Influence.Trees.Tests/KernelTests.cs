using Influence.Trees.Native;
using MathNet.Numerics.LinearAlgebra;
using Xunit;
using LossKind = Influence.Trees.BoostedTrees.LossKind;

namespace Influence.Trees.Tests;

/// <summary>Kernels, similarity and TREX.</summary>
public class KernelTests
{
    [LightGbmFact]
    public void Similarity_of_two_leaves_by_hand()
    {
        var train = new TabularExamples(
            new double[,]
            {
                { 0 },
                { 0 },
                { 0 },
                { 1 },
                { 1 },
            },
            [0, 0, 1, 1, 1]
        );
        var model = BoostedTrees.ParseLightGbm(
            LightGbm.Train(train, "objective=binary num_leaves=2 min_data_in_leaf=1 min_data_in_bin=1 min_sum_hessian_in_leaf=0", 4).Text
        );
        var query = new TabularExamples(
            new double[,]
            {
                { 0 },
            },
            [1]
        );
        using var weighted = new TreeSimilarity().Score(model, train, query);
        using var shared = new TreeSimilarity { Kernel = TreeKernel.LeafPath }.Score(model, train, query);
        using var cosine = new TreeSimilarity { Cosine = true }.Score(model, train, query);

        // Four trees; three examples in the query's leaf, of which the third has its target.
        Assert.Equal(
            [-4 / 9.0, -4 / 9.0, 4 / 9.0, 0, 0],
            weighted.ForQuery(0).Values.Select(v => Math.Round(v, 12)),
            (a, b) => Math.Abs(a - b) < 1e-9
        );
        Assert.Equal([-4, -4, 4, 0, 0], shared.ForQuery(0).Values);
        Assert.Equal([-1, -1, 1, 0, 0], cosine.ForQuery(0).Values, (a, b) => Math.Abs(a - b) < 1e-12);
    }

    [LightGbmFact]
    public void A_regression_agrees_by_the_side_of_the_prediction()
    {
        var (model, train, queries) = Tables.Trained(LossKind.SquaredError);
        using var scores = new TreeSimilarity { Kernel = TreeKernel.LeafPath }.Score(model, train, queries);
        var raw = model.Raw(queries);

        for (var i = 0; i < train.Count; i++)
        {
            var shared = model.Trees.Count(t => t.LeafOf(train.Row(i)) == t.LeafOf(queries.Row(0)));
            var agree = (train.Targets[i] >= raw[0, 0]) == (queries.Targets[0] > raw[0, 0]);
            Assert.Equal(agree ? shared : -shared, scores[0, i]);
        }
    }

    /// <summary>Squared error has a closed form, (K + 2 l2 N) alpha = y - b; both are double precision, the fit to 1e-10 of its first
    /// gradient.</summary>
    [LightGbmTheory]
    [InlineData(TreeKernel.WeightedLeafPath)]
    [InlineData(TreeKernel.LeafPath)]
    [InlineData(TreeKernel.LeafOutput)]
    public void Trex_of_a_regression_is_kernel_ridge(TreeKernel kernel)
    {
        var (model, train, queries) = Tables.Trained(LossKind.SquaredError, count: 60, iterations: 5);
        using var scores = new Trex { Kernel = kernel, L2 = 0.05 }.Score(model, train, queries);
        var mean = train.Targets.Average();
        var gram = Matrix<double>.Build.Dense(60, 60, (i, j) => Kernel(train, i, train, j));
        var alpha = (gram + (2 * 0.05 * 60 * Matrix<double>.Build.DenseIdentity(60))).Solve(
            Vector<double>.Build.Dense([.. train.Targets.Select(t => t - mean)])
        );

        for (var q = 0; q < queries.Count; q++)
        {
            double[] terms = [.. Enumerable.Range(0, 60).Select(i => alpha[i] * Kernel(train, i, queries, q))];
            var residual = mean + terms.Sum() - queries.Targets[q];
            for (var i = 0; i < 60; i++)
            {
                var expected = 0.5 * (((residual - terms[i]) * (residual - terms[i])) - (residual * residual));
                Assert.Equal(expected, scores[q, i], 1e-7 * (1 + Math.Abs(expected)));
            }
        }

        double Kernel(TabularExamples a, int i, TabularExamples b, int j) =>
            model
                .Trees.Select(
                    (tree, t) =>
                    {
                        var leaf = tree.LeafOf(a.Row(i));
                        var weight = kernel switch
                        {
                            TreeKernel.LeafPath => 1,
                            TreeKernel.LeafOutput => tree.Values[leaf] - (t == 0 ? mean : 0),
                            _ => 1.0 / Enumerable.Range(0, train.Count).Count(n => tree.LeafOf(train.Row(n)) == leaf),
                        };
                        return leaf == tree.LeafOf(b.Row(j)) ? weight * weight : 0;
                    }
                )
                .Sum();
    }

    /// <summary>At the minimum alpha is -L' / (2 l2 N), and the terms add up to the output: both say that the fit is where it should
    /// be.</summary>
    [LightGbmTheory]
    [InlineData(LossKind.Binary)]
    [InlineData(LossKind.Multiclass)]
    public void Trex_of_classes_is_at_its_minimum(LossKind loss)
    {
        var (model, train, queries) = Tables.Trained(loss, count: 60, iterations: 5);
        var features = new TreeKernelFeatures(
            new TreeWork(model, train, queries, pairs: true, null, CancellationToken.None),
            TreeKernel.LeafPath
        );
        var surrogate = new TreeSurrogate(features, model.LossFunction, [.. train.Targets], new double[model.Outputs], 0.01);
        surrogate.Fit(1e-12, CancellationToken.None);
        var outputs = surrogate.Outputs(features.Train);
        var (g, h) = (new double[model.Outputs], new double[model.Outputs]);

        for (var i = 0; i < train.Count; i++)
        {
            model.LossFunction.Derivatives(outputs.AsSpan(i * model.Outputs, model.Outputs), train.Targets[i], g, h);
            for (var k = 0; k < model.Outputs; k++)
            {
                Assert.Equal(-g[k] / (2 * 0.01 * 60), surrogate.Alphas[(i * model.Outputs) + k], 1e-8);
            }
        }

        using var scores = new Trex { Kernel = TreeKernel.LeafPath, L2 = 0.01 }.Score(model, train, queries);
        Assert.Contains("correlation of the surrogate's outputs", scores.Metadata.Notes, StringComparison.Ordinal);
    }
}
