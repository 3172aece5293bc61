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
            () => _ = new TracIn { Similarity = (GradientSimilarity)7 },
            () => _ = new CurvatureOptions { Fisher = (Fisher)7 },
            () => _ = new DataInfOptions { Fisher = (Fisher)(-1) },
            () => _ = new DenseOptions { Matrix = (CurvatureMatrix)7 },
            () => _ = new ConjugateGradientOptions { Matrix = (CurvatureMatrix)7 },
            () => _ = new LissaOptions { Matrix = (CurvatureMatrix)7 },
            () => _ = new ArnoldiOptions { Matrix = (CurvatureMatrix)7 },
            () => _ = new AstraOptions { Iteration = (AstraIteration)7 },
            () => _ = new InRunValues { Order = (InRunOrder)7 },
        ];
        Assert.All(settings, set => Assert.Contains("is one of", Assert.Throws<InfluenceException>(set).Message, StringComparison.Ordinal));
    }
}
