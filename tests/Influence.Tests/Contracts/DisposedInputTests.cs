using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Contracts;

/// <summary>What was disposed before it is used is named, where TorchSharp speaks of an empty handle.</summary>
public class DisposedInputTests
{
    [Fact]
    public void ATensorOfTheExamples()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var x = c.X.clone();
        var examples = Examples.FromTensors(("x", x), ("y", c.Y));
        x.Dispose();

        var error = Assert.Throws<InfluenceException>(() => new TracIn().SelfInfluence(c.Task(), examples));

        Assert.Contains("tensors that were disposed: x", error.Message, StringComparison.Ordinal);
        Assert.Contains("disposed", examples.ToHtml(), StringComparison.Ordinal);
    }

    [Fact]
    public void AFit()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var ekfac = Ekfac.Fit(c.Task(), c.Train);
        ekfac.Dispose();

        var error = Assert.Throws<InfluenceException>(() => new InfluenceFunction(ekfac).Score(c.Task(), c.Train, c.Queries));

        Assert.Contains("This EK-FAC was disposed", error.Message, StringComparison.Ordinal);
    }
}
