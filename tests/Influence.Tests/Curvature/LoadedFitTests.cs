using Influence.Curvature;
using Influence.Estimators;
using Influence.Formats;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary><see cref="Preconditioner.Load"/> reads every kind of fit, and says what a file is that it does not read.</summary>
public class LoadedFitTests
{
    public static TheoryData<string> Kinds => ["EK-FAC", "K-FAC", "diagonal Fisher", "dense", "Arnoldi", "Nystrom", "none"];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void EveryKindComesBackAsItself(string kind)
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        using var classifier = new Classifier();
        var (task, train, path) = (classifier.Task(), classifier.Train, folder.Path("fit.safetensors"));
        using var fit = Saved();
        using var loaded = Preconditioner.Load(path);

        Assert.Equal(fit.GetType(), loaded.GetType());
        Assert.Equal(fit.Info, loaded.Info);

        // A file holds its tensors row by row, a decomposition gives columns: products in another order, in float64.
        var (before, after) = (Scores(fit), Scores(loaded));
        var tolerance = 1e-12 * before.Max(Math.Abs);
        Assert.All(before.Zip(after), pair => Assert.Equal(pair.First, pair.Second, tolerance));

        double[] Scores(Preconditioner preconditioner)
        {
            using var scores = new InfluenceFunction(preconditioner).Score(task, train, classifier.Train);
            return [.. scores.Values.to_type(ScalarType.Float64).contiguous().data<double>()];
        }

        Preconditioner Saved()
        {
            switch (kind)
            {
                case "dense":
                    var dense = DenseCurvature.Fit(task, train);
                    dense.Save(path);
                    return dense;
                case "Arnoldi":
                    var arnoldi = Arnoldi.Fit(task, train, new() { Damping = Damping.Default });
                    arnoldi.Save(path);
                    return arnoldi;
                case "Nystrom":
                    var nystrom = Nystrom.Fit(task, train);
                    nystrom.Save(path);
                    return nystrom;
                case "none":
                    var none = NoCurvature.Fit(task, train);
                    none.Save(path);
                    return none;
                default:
                    LayerwisePreconditioner layerwise = kind switch
                    {
                        "EK-FAC" => Ekfac.Fit(task, train, new() { Seed = 3 }),
                        "K-FAC" => Kfac.Fit(task, train, new() { Seed = 3 }),
                        _ => DiagonalFisher.Fit(task, train, new() { Seed = 3 }),
                    };
                    layerwise.Save(path);
                    return layerwise;
            }
        }
    }

    [Fact]
    public void WhatIsNoFitIsRefusedByName()
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        using var classifier = new Classifier();
        var path = folder.Path("fit.safetensors");
        Assert.Contains("fit.safetensors", Refused(), StringComparison.Ordinal);

        Safetensors.Save(path, [("w", ones(2))], new Dictionary<string, string>());
        Assert.Contains("is not a saved preconditioner", Refused(), StringComparison.Ordinal);

        using (var none = NoCurvature.Fit(classifier.Task(), classifier.Train))
        {
            Safetensors.Save(path, [], (none.Info with { Method = "Muon" }).ToStrings());
        }

        var unknown = Refused();
        Assert.Contains("holds a fit by Muon", unknown, StringComparison.Ordinal);
        Assert.Contains("expected one by EK-FAC, K-FAC,", unknown, StringComparison.Ordinal);

        // A kind's own load refuses the other kinds.
        using (var kfac = Kfac.Fit(classifier.Task(), classifier.Train))
        {
            kfac.Save(path);
        }

        Assert.Contains("not by EK-FAC", Assert.Throws<InfluenceException>(() => Ekfac.Load(path)).Message, StringComparison.Ordinal);

        string Refused() => Assert.Throws<InfluenceException>(() => Preconditioner.Load(path)).Message;
    }
}
