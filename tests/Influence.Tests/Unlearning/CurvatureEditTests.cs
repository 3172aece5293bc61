using Influence.Curvature;
using Influence.Tests.Oracles;
using Influence.Unlearning;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Unlearning;

/// <summary>The K-FAC edit against one written out with loops over pairs.</summary>
public class CurvatureEditTests
{
    [Fact]
    public void TheSmallestSetOfAtLeastTheMassIsKept()
    {
        using var scope = NewDisposeScope();
        var (g, a) = (tensor(new[] { 3.0, 1.0 }), tensor(new[] { 4.0, 1.0, 0.0 }));

        // Products 12, 3, 0, 4, 1, 0 of 20 in all.
        Assert.Equal([true, false, false, false, false, false], CurvatureEdit.Kept(g, a, 0.6).reshape(-1).data<bool>().ToArray());
        Assert.Equal([true, false, false, true, false, false], CurvatureEdit.Kept(g, a, 0.61).reshape(-1).data<bool>().ToArray());
        Assert.Equal([true, true, false, true, false, false], CurvatureEdit.Kept(g, a, 0.9).reshape(-1).data<bool>().ToArray());
    }

    /// <summary>Rounding of eigenvectors in float64; eigenvalues are those of covariances formed from inputs and output gradients by
    /// hand.</summary>
    [Theory]
    [InlineData(0.5)]
    [InlineData(0.9)]
    public void ItIsThatOfTheFactors(double mass)
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 20);
        using var kfac = Kfac.Fit(c.Task(), c.Train, new Kfac.Options { Fisher = Fisher.Empirical });
        using var edited = new CurvatureEdit
        {
            KeptMass = mass,
            Layers = LayerSelection.Where(name => name.StartsWith("head", StringComparison.Ordinal)),
        }.Apply(c.Task(), c.Train, kfac);

        // By hand: inputs tanh(hidden) with a one, output gradients p - onehot.
        using var noGrad = no_grad();
        var inputs = cat([c.Hidden.call(c.X).tanh(), ones([20, 1], dtype: float64)], 1); // [N, I]
        var deltas = c.Model.call(c.X).softmax(1) - nn.functional.one_hot(c.Y, Classifier.Classes).to_type(ScalarType.Float64); // [N, O]
        var (a, qa) = linalg.eigh(inputs.t().mm(inputs) / 20);
        var (g, qg) = linalg.eigh(deltas.t().mm(deltas) / 20);
        var weight = cat([c.Head.weight!.detach(), c.Head.bias!.detach().unsqueeze(1)], 1); // [O, I]
        var coordinates = qg.t().mm(weight).mm(qa);
        double[] av = a.clamp_min(0).data<double>().ToArray(),
            gv = g.clamp_min(0).data<double>().ToArray();
        var pairs = (
            from i in Enumerable.Range(0, gv.Length)
            from j in Enumerable.Range(0, av.Length)
            orderby gv[i] * av[j] descending
            select (i, j)
        ).ToList();
        var (total, sum, mask) = (gv.Sum() * av.Sum(), 0.0, zeros_like(coordinates));
        foreach (var (i, j) in pairs)
        {
            if (sum >= mass * total)
            {
                break;
            }

            sum += gv[i] * av[j];
            mask[i, j] = 1;
        }

        var expected = qg.mm(coordinates * mask).mm(qa.t());
        var found = cat([edited.Tensors["head.weight"], edited.Tensors["head.bias"].unsqueeze(1)], 1);
        Assert.True((expected - found).abs().max().item<double>() < 1e-9);
        Assert.Equal((expected - weight).norm().item<double>(), edited.StepNorm, 1e-9);
        Assert.True(edited.Tensors["hidden.weight"].eq(c.Hidden.weight!).all().item<bool>());
    }

    [Fact]
    public void TheModelIsAsBefore()
    {
        using var c = new Classifier(train: 20);
        var state = ModelState.Of(c.Model, c.X);
        using var kfac = Kfac.Fit(c.Task(), c.Train);
        new CurvatureEdit().Apply(c.Task(), c.Train, kfac).Dispose();
        state.AssertUnchanged(c.Model, c.X);
    }

    [Fact]
    public void AtTheWholeMassNothingMoves()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 20);
        using var kfac = Kfac.Fit(c.Task(), c.Train);
        using var edited = new CurvatureEdit { KeptMass = 1 }.Apply(c.Task(), c.Train, kfac);
        Assert.All(c.Model.named_parameters(), p => Assert.True(edited.Tensors[p.name].eq(p.parameter).all().item<bool>()));
        Assert.Equal(0, edited.StepNorm);
        Assert.Contains(
            "No layer",
            Assert
                .Throws<InfluenceException>(() =>
                    new CurvatureEdit { Layers = LayerSelection.Where(_ => false) }.Apply(c.Task(), c.Train, kfac)
                )
                .Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => new CurvatureEdit { KeptMass = 0 });
    }
}
