using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>K-FAC and EK-FAC against the dense inverse of the Kronecker product that the test writes out itself.</summary>
public class DenseKroneckerTests
{
    /// <summary>Float64: the dense inverse of a matrix of condition up to 1e4 costs four of sixteen digits.</summary>
    private const double Algebra = 1e-8;

    public static TheoryData<string, bool, double> All
    {
        get
        {
            var data = new TheoryData<string, bool, double>();
            foreach (var name in TracedModel.Names)
            {
                data.Add(name, true, 0.1);
                data.Add(name, false, 0.1);
                data.Add(name, true, 0.001);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(All))]
    public void PairsAndSelfInfluence(string name, bool measured, double damping)
    {
        using var scope = NewDisposeScope();
        var made = TracedModel.Make(name);
        var (train, queries) = (made.Inputs(12), made.Inputs(4));
        var oracle = made.Oracle(train);
        var options = new Ekfac.Options { Fisher = Fisher.Empirical, Damping = Damping.RelativeToMeanEigenvalue(damping) };
        var (trainExamples, queryExamples) = (Examples.FromTensors(train), Examples.FromTensors(queries));
        using LayerwisePreconditioner fit = measured
            ? Ekfac.Fit(made.Task(), trainExamples, options)
            : Kfac.Fit(made.Task(), trainExamples, options);
        var influence = new InfluenceFunction(fit) { Tolerance = 0 };

        using var scores = influence.Score(made.Task(), trainExamples, queryExamples);
        var self = influence.SelfInfluence(made.Task(), trainExamples);

        var expected = oracle.Scores(measured, mean => damping * mean, made.Model, made.Loss, TracedModel.One(queries));
        var pairs = oracle.Scores(measured, mean => damping * mean, made.Model, made.Loss, TracedModel.One(train));
        AssertClose(expected, scores.Values);
        AssertClose(pairs.diagonal(), tensor(self.Values.ToArray()));
    }

    /// <summary>An absolute damping is the same number for each layer, and may be given to the call.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AnAbsoluteDampingOfTheCall(bool measured)
    {
        using var scope = NewDisposeScope();
        var made = TracedModel.Make("attention");
        var train = made.Inputs(12);
        var examples = Examples.FromTensors(train);
        var options = new Ekfac.Options { Fisher = Fisher.Empirical };
        using LayerwisePreconditioner fit = measured ? Ekfac.Fit(made.Task(), examples, options) : Kfac.Fit(made.Task(), examples, options);

        using var scores = new InfluenceFunction(fit) { Tolerance = 0, Damping = Damping.Absolute(0.02) }.Score(
            made.Task(),
            examples,
            examples
        );

        AssertClose(made.Oracle(train).Scores(measured, _ => 0.02, made.Model, made.Loss, TracedModel.One(train)), scores.Values);
        Assert.StartsWith("0.02 absolute", scores.Metadata.Damping, StringComparison.Ordinal);
    }

    private static void AssertClose(Tensor expected, Tensor actual)
    {
        var error = SingleExampleLoop.RelativeError(actual, expected);
        Assert.True(error < Algebra, $"relative error {error:E2}");
    }
}
