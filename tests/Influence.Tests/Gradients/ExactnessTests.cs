using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>Scores against the loop over single examples, for every rule, layout and fallback.</summary>
public class ExactnessTests
{
    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void PairsAndSelfInfluenceEqualTheLoopInFloat64(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (made.Inputs(9), made.Inputs(4));
        var (g, q) = (
            SingleExampleLoop.Gradients(made.Model, made.Loss, train),
            SingleExampleLoop.Gradients(made.Model, made.Loss, queries)
        );

        using var scores = new TracIn().Score(made.Task(), Examples.FromTensors(train), Examples.FromTensors(queries));
        var self = new TracIn().SelfInfluence(made.Task(), Examples.FromTensors(train));

        Assert.Equal(ScalarType.Float64, scores.Values.dtype);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, q.mm(g.t())) < 1e-10);
        Assert.True(SingleExampleLoop.RelativeError(tensor(self.Values.ToArray()), g.Squared().sum(1)) < 1e-10);
    }

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void PairsEqualTheFloat64LoopInFloat32(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (made.Inputs(9), made.Inputs(4));
        var (g, q) = (
            SingleExampleLoop.Gradients(made.Model, made.Loss, train),
            SingleExampleLoop.Gradients(made.Model, made.Loss, queries)
        );
        if (name is "recurrent" or "raw parameter" or "tied linear twice" or "tied embedding and head")
        {
            // Their forward passes make float64 tensors of their own, or the conversion unties their weights.
            return;
        }

        made.Model.to(float32);
        Tensor[] Narrow(Tensor[] inputs) => [.. inputs.Select(t => t.is_floating_point() ? t.to_type(float32) : t)];
        using var scores = new TracIn().Score(made.Task(), Examples.FromTensors(Narrow(train)), Examples.FromTensors(Narrow(queries)));

        Assert.Equal(ScalarType.Float32, scores.Values.dtype);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, q.mm(g.t())) < 1e-4);
    }

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void EveryContractionGivesTheSame(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (made.Inputs(7), made.Inputs(5));
        var expected = SingleExampleLoop
            .Gradients(made.Model, made.Loss, queries)
            .mm(SingleExampleLoop.Gradients(made.Model, made.Loss, train).t());
        var (trainExamples, queryExamples) = (Examples.FromTensors(train), Examples.FromTensors(queries));
        using var session = GradientSession.Open(made.Task(), trainExamples, queryExamples);
        foreach (var contraction in new[] { Contraction.Ghost, Contraction.Dense, Contraction.Factored })
        {
            using var noGrad = no_grad();
            using var kept = NewDisposeScope();
            QueryGradients? held = null;
            foreach (var batch in queryExamples.Batches())
            {
                using var gradients = session.Capture(batch, LossKind.Measurement);
                Contraction[] plan =
                [
                    .. gradients.Blocks.Select(block =>
                        block switch
                        {
                            TokenGradients => Contraction.Rows,
                            FactoredGradients { Weight: true } => contraction,
                            _ => Contraction.Dense,
                        }
                    ),
                ];
                held ??= new QueryGradients(plan, new ContractionPlanner(4096, 8), queryExamples.Count, kept);
                held.Add(gradients, withNorms: false);
            }

            held!.Complete();
            foreach (var batch in trainExamples.Batches())
            {
                using var gradients = session.Capture(batch, LossKind.Training);
                Assert.True(SingleExampleLoop.RelativeError(held.Dot(gradients), expected) < 1e-10, contraction.ToString());
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void CosineIsTheDotOverTheNorms(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (made.Inputs(5), made.Inputs(3));
        var (g, q) = (
            SingleExampleLoop.Gradients(made.Model, made.Loss, train),
            SingleExampleLoop.Gradients(made.Model, made.Loss, queries)
        );

        using var scores = new TracIn { Similarity = TracIn.GradientSimilarity.Cosine }.Score(
            made.Task(),
            Examples.FromTensors(train),
            Examples.FromTensors(queries)
        );

        var norms = q.Squared().sum(1).sqrt().unsqueeze(1) * g.Squared().sum(1).sqrt().unsqueeze(0);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, q.mm(g.t()) / norms) < 1e-10);
    }
}
