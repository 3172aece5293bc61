using Influence.Curvature;
using Influence.Estimators;
using Influence.Training;
using Xunit;

namespace Influence.Tests.Estimators;

/// <summary>A number that is cast to an enum and names none of its values would fall into some branch.</summary>
public class UndefinedSettingsTests
{
    [Fact]
    public void AreRefusedWhereTheyAreSet()
    {
        Action[] settings =
        [
            () => _ = new TracIn { Similarity = (TracIn.GradientSimilarity)7 },
            () => _ = new Ekfac.Options { Fisher = (Fisher)7 },
            () => _ = new DataInf.Options { Fisher = (Fisher)(-1) },
            () => _ = new DenseCurvature.Options { Matrix = (CurvatureMatrix)7 },
            () => _ = new ConjugateGradient.Options { Matrix = (CurvatureMatrix)7 },
            () => _ = new Lissa.Options { Matrix = (CurvatureMatrix)7 },
            () => _ = new Arnoldi.Options { Matrix = (CurvatureMatrix)7 },
            () => _ = new Astra.Options { Iteration = (Astra.Kind)7 },
            () => _ = new InRunValues { Order = (InRunValues.Expansion)7 },
        ];
        Assert.All(settings, set => Assert.Contains("is one of", Assert.Throws<InfluenceException>(set).Message, StringComparison.Ordinal));
    }
}
