using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>
/// Every layer and use by every layer-wise method: the fast products against written-out ones with the gradients of the
/// loop, and everything that must agree with them.
/// </summary>
public class EveryLayerTests
{
    /// <summary>Float64; weights 1/(eigenvalue + damping) range over about four digits.</summary>
    private const double Rounding = 1e-10;

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void ScoresAreWrittenOutProducts(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (made.Inputs(9), made.Inputs(4));
        var (trainExamples, queryExamples) = (Examples.FromTensors(train), Examples.FromTensors(queries));
        var (ofTrain, ofQueries) = (Loop(made, train), Loop(made, queries));
        var task = made.Task();
        foreach (var method in LayerwiseMethods.All)
        {
            using var fit = LayerwiseMethods.Fit(method, task, trainExamples);
            var exact = new InfluenceFunction(fit) { Tolerance = 0 };
            using var scores = exact.Score(task, trainExamples, queryExamples);

            // The same product from either side: the inverse is symmetric.
            var (fromQueries, _) = Written(fit, task, queries, ofTrain);
            var (fromTraining, norms) = Written(fit, task, train, ofQueries);
            AssertClose(fromQueries, scores.Values, method);
            AssertClose(fromTraining.t(), scores.Values, method);

            using var all = exact.Score(task, trainExamples, trainExamples);
            var self = tensor(exact.SelfInfluence(task, trainExamples).Values.ToArray());
            AssertClose(all.Values.diagonal(), self, method + ", self-influence");
            Assert.True(self.ge(0).all().item<bool>());

            using var layers = exact.ScoreLayers(task, trainExamples, queryExamples);
            AssertClose(scores.Values, layers.Select(l => l.Scores.Values).Aggregate((a, b) => a + b), method + ", layers");

            AssertClose(
                scores.Values.sum(0L, keepdim: true),
                Values(new(fit) { Tolerance = 0, Aggregation = InfluenceFunction.QueryAggregation.Sum }),
                method + ", sum"
            );
            AssertClose(
                scores.Values.mean([0], keepdim: true),
                Values(new(fit) { Tolerance = 0, Aggregation = InfluenceFunction.QueryAggregation.Mean }),
                method + ", mean"
            );
            AssertClose(
                scores.Values / norms,
                Values(new(fit) { Tolerance = 0, Normalization = InfluenceFunction.ScoreNormalization.Theta }),
                method + ", theta-RelatIF"
            );
            AssertClose(
                scores.Values / self.sqrt(),
                Values(new(fit) { Tolerance = 0, Normalization = InfluenceFunction.ScoreNormalization.Loss }),
                method + ", l-RelatIF"
            );

            Tensor Values(InfluenceFunction influence) => influence.Score(task, trainExamples, queryExamples).Values;
        }
    }

    /// <summary>The diagonal needs nothing of the library's: its formula over the gradients of the loop.</summary>
    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void TheDiagonalFisherIsItsFormula(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (made.Inputs(9), made.Inputs(4));
        var task = made.Task();
        using var fit = DiagonalFisher.Fit(task, Examples.FromTensors(train), LayerwiseMethods.Empirical);
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(
            task,
            Examples.FromTensors(train),
            Examples.FromTensors(queries)
        );

        var (ofTrain, ofQueries) = (Loop(made, train), Loop(made, queries));
        var expected = zeros([4, 9], float64);
        foreach (var (parameters, _) in fit.MeanEigenvalues)
        {
            var names = parameters.Split(", ");
            var (g, q) = (Rows(ofTrain), Rows(ofQueries));
            var diagonal = g.Squared().mean([0]); // [P]
            if (diagonal.mean().item<double>() < 1e-28)
            {
                // A key projection's bias has no gradient but rounding, and adds nothing.
                continue;
            }

            expected += (q / (diagonal + (0.1 * diagonal.mean()))).mm(g.t());

            Tensor Rows(Dictionary<string, Tensor> gradients) => cat([.. names.Select(n => Slice(n, gradients))], 1);
        }

        AssertClose(expected, scores.Values, name);

        // The rows of a packed projection are named [q], [k] and [v].
        static Tensor Slice(string part, Dictionary<string, Tensor> gradients)
        {
            var bracket = part.IndexOf('[', StringComparison.Ordinal);
            if (bracket < 0)
            {
                return gradients[part];
            }

            var whole = gradients[part[..bracket]];
            var rows = whole.shape[1] / 3;
            return whole.narrow(1, "qkv".IndexOf(part[bracket + 1], StringComparison.Ordinal) * rows, rows);
        }
    }

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void BatchesOrderAndMemoryChangeNothing(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (made.Inputs(9), made.Inputs(4));
        var (trainExamples, queryExamples) = (Examples.FromTensors(train), Examples.FromTensors(queries));
        long[] order = [7, 2, 0, 4, 1, 8, 3, 6, 5];
        var index = tensor(order);
        var permuted = Examples.FromTensors([.. train.Select(t => t.index_select(0, index))]) with { Ids = order, BatchSize = 4 };
        var task = made.Task();
        foreach (var method in LayerwiseMethods.All)
        {
            using var fit = LayerwiseMethods.Fit(method, task, trainExamples);
            using var expected = new InfluenceFunction(fit) { Tolerance = 0 }.Score(task, trainExamples, queryExamples);

            foreach (var batch in new[] { 1, 3 })
            {
                using var other = LayerwiseMethods.Fit(method, task, trainExamples with { BatchSize = batch });
                using var scores = new InfluenceFunction(other) { Tolerance = 0 }.Score(
                    task,
                    trainExamples with
                    {
                        BatchSize = batch,
                    },
                    queryExamples with
                    {
                        BatchSize = batch,
                    }
                );
                AssertClose(expected.Values, scores.Values, $"{method}, batches of {batch}");
            }

            using var reordered = LayerwiseMethods.Fit(method, task, permuted);
            using var moved = new InfluenceFunction(reordered) { Tolerance = 0, MemoryBudget = 1 }.Score(
                task,
                permuted,
                queryExamples with
                {
                    BatchSize = 1,
                }
            );
            AssertClose(expected.Values.index_select(1, index), moved.Values, method + ", another order, no memory");

            using var half = new InfluenceFunction(fit) { Tolerance = 0 }.Score(
                task,
                trainExamples,
                Examples.FromTensors([.. queries.Select(t => t.narrow(0, 2, 2))])
            );
            AssertClose(expected.Values.narrow(0, 2, 2), half.Values, method + ", half of the queries");
        }
    }

    /// <summary>
    /// A float32 model against the same in float64. Seven digits, of which a sum over a thousand terms and the inverse of
    /// a damped spectrum (condition 1/0.1 of the mean) leave four.
    /// </summary>
    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void SinglePrecision(string name)
    {
        if (name is "recurrent" or "raw parameter" or "tied linear twice" or "tied embedding and head")
        {
            // Their forward passes make float64 tensors of their own, or the conversion unties their weights.
            return;
        }

        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (made.Inputs(9), made.Inputs(4));
        var task = made.Task();
        var expected = LayerwiseMethods.All.Select(method => Scores(method, train, queries)).ToArray();
        made.Model.to(float32);
        task = made.Task();
        for (var k = 0; k < expected.Length; k++)
        {
            var scores = Scores(LayerwiseMethods.All[k], Narrow(train), Narrow(queries));
            Assert.Equal(ScalarType.Float32, scores.dtype);
            var error = SingleExampleLoop.RelativeError(scores, expected[k]);
            Assert.True(error < 1e-4, $"{LayerwiseMethods.All[k]}: relative error {error:E2}");
        }

        Tensor Scores(string method, Tensor[] ofTrain, Tensor[] ofQueries)
        {
            var examples = Examples.FromTensors(ofTrain);
            using var fit = LayerwiseMethods.Fit(method, task, examples);
            return new InfluenceFunction(fit) { Tolerance = 0 }
                .Score(task, examples, Examples.FromTensors(ofQueries))
                .Values;
        }

        static Tensor[] Narrow(Tensor[] inputs) => [.. inputs.Select(t => t.is_floating_point() ? t.to_type(float32) : t)];
    }

    /// <summary>(H + damping)^-1 g of one side, written out in the parameters' layout, times the loop's gradients of the other; and its
    /// norms.</summary>
    private static (Tensor Products, Tensor Norms) Written(
        Preconditioner fit,
        InfluenceTask task,
        Tensor[] own,
        Dictionary<string, Tensor> other
    )
    {
        var examples = Examples.FromTensors(own);
        using var session = GradientSession.Open(task, examples, null);
        using var inverse = fit.Prepare(session, null, 0, default);
        var products = zeros([own[0].shape[0], other.Values.First().shape[0]], float64);
        var squares = zeros([own[0].shape[0]], float64);
        var parts = new List<(ParameterPart Part, Tensor Value)>();
        using (no_grad())
        {
            foreach (var batch in examples.Batches())
            {
                using var gradients = session.Capture(batch, LossKind.Training);
                using var written = inverse.Written(gradients);
                for (var k = 0; k < written.Blocks.Count; k++)
                {
                    // A block whose curvature is rounding only is left out.
                    parts.AddRange(
                        session.Parts[k].Zip((written.Blocks[k]?.Dense() ?? []).Select(d => d.clone().DetachFromDisposeScope()))
                    );
                }
            }
        }

        foreach (var (part, value) in parts)
        {
            using var detached = value;
            var g = other[part.Parameter.Name].narrow(1, part.Start, part.Count);
            products += value.mm(g.t());
            squares += value.Squared().sum(1);
        }

        return (products, squares.sqrt());
    }

    /// <summary>Of every method the same, and so looped once.</summary>
    private static Dictionary<string, Tensor> Loop(ModelCase made, Tensor[] inputs) =>
        SingleExampleLoop.ByParameter(made.Model, made.Loss, inputs);

    private static void AssertClose(Tensor expected, Tensor actual, string what)
    {
        var error = SingleExampleLoop.RelativeError(actual, expected);
        Assert.True(error < Rounding, $"{what}: relative error {error:E2}");
    }
}
