using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>The strongest pairs by few terms, bounds and exact scores of what is left, against all scores.</summary>
public sealed class StrongestSearchTests : IDisposable
{
    private const int Outputs = 60;
    private const int Inputs = 90;

    private readonly DisposeScope _scope = NewDisposeScope();

    public StrongestSearchTests() => random.manual_seed(17);

    public void Dispose() => _scope.Dispose();

    /// <summary>R = min(O, I) is all of W: what is left is rounding in float64.</summary>
    [Fact]
    public void AllTermsAreTheWeights()
    {
        var layer = MakeLayer(damping: 0.05, noise: 0.5, float64);
        using var terms = SpectralTerms.Of(layer.Weights, layer.Energy, Outputs);
        var found = zeros([7, 50], float64);
        SpectralProducts.AddTerms(found, layer.Query.A, layer.Query.D, layer.Train.A, layer.Train.D, terms);
        var exact = Exact(layer);
        Assert.True(SingleExampleLoop.RelativeError(found, exact) < 1e-10);
        var bounds = zeros([7, 50], float64);
        terms.AddBounds(bounds, Flat(layer.Query.A), Flat(layer.Query.D), Flat(layer.Train.A), Flat(layer.Train.D));
        Assert.True((bounds / Largest(layer)).max().item<double>() < 1e-9);
    }

    /// <summary>For examples as the fit saw them and for others, of every size, in both types.</summary>
    [Theory]
    [InlineData(1, 0.5)]
    [InlineData(4, 0.5)]
    [InlineData(16, 0.5)]
    [InlineData(4, 0)]
    [InlineData(8, 0)]
    public void BothBoundsHoldOnEveryPair(int rank, double noise)
    {
        foreach (var type in new[] { float64, float32 })
        {
            foreach (var damping in new[] { 1e-6, 0.05, 1e3 })
            {
                var layer = MakeLayer(damping, noise, type);
                using var terms = SpectralTerms.Of(layer.Weights, layer.Energy, rank);
                var found = zeros([7, 50], type);
                SpectralProducts.AddTerms(found, layer.Query.A, layer.Query.D, layer.Train.A, layer.Train.D, terms);
                var error = (found.to(float64) - Exact(layer)).abs();
                var bounds = zeros([7, 50], type);
                terms.AddBounds(bounds, Flat(layer.Query.A), Flat(layer.Query.D), Flat(layer.Train.A), Flat(layer.Train.D));
                var beyond = (error - bounds.to(float64)).max().item<double>();
                Assert.True(beyond <= 0, $"{type}, damping {damping}: {beyond:E2}");
            }
        }
    }

    /// <summary>Well-fitted examples have gradients whose squares float32 does not know; their bounds are none the less of their
    /// size.</summary>
    [Fact]
    public void SmallGradientsHaveSmallBounds()
    {
        var layer = MakeLayer(0.05, 0.5, float32);
        using var terms = SpectralTerms.Of(layer.Weights, layer.Energy, 4);
        var (normal, small) = (zeros([7, 50], float32), zeros([7, 50], float32));
        terms.AddBounds(normal, Flat(layer.Query.A), Flat(layer.Query.D), Flat(layer.Train.A), Flat(layer.Train.D));
        terms.AddBounds(small, Flat(layer.Query.A), Flat(layer.Query.D) * 1e-14f, Flat(layer.Train.A), Flat(layer.Train.D) * 1e-14f);
        Assert.True(SingleExampleLoop.RelativeError(small.to(float64) * 1e28, normal.to(float64)) < 1e-4);
    }

    public static TheoryData<string, int, long> Cases =>
        new()
        {
            { "usual", 5, 4 },
            { "usual", 1, 1 },
            { "usual", 120, 4 },
            { "usual", 60, 8 },
            { "all equal", 5, 4 },
            { "pairs equal", 7, 4 },
            { "zeros", 5, 4 },
            { "zeros for some", 5, 4 },
            { "huge damping", 5, 1 },
            { "tiny damping", 5, 4 },
            { "one large", 3, 2 },
            { "no noise", 4, 8 },
        };

    /// <summary>Three batches of two such layers and one of another kind; ids and scores are those of all scores in the same
    /// order.</summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void FindsWhatAllScoresGive(string kind, int k, long rank)
    {
        const int N = 120;
        const int Q = 9;
        var damping = kind switch
        {
            "huge damping" => 1e4,
            "tiny damping" => 1e-6,
            _ => 0.05,
        };
        var noise = kind == "no noise" ? 0 : 0.5;
        var layers = new[] { MakeLayer(damping, noise, float64, Q, N), MakeLayer(damping, noise, float64, Q, N) };
        var (queryDense, trainDense) = (randn([Q, 3], dtype: float64), randn([N, 3], dtype: float64) * 0.1);
        foreach (var train in layers.SelectMany(l => new[] { l.Train.A, l.Train.D }).Append(trainDense))
        {
            switch (kind)
            {
                case "all equal":
                    train.copy_(train.narrow(0, 0, 1).expand_as(train));
                    break;
                case "pairs equal":
                    train.narrow(0, N / 2, N / 2).copy_(train.narrow(0, 0, N / 2));
                    break;
                case "zeros":
                    train.zero_();
                    break;
                case "zeros for some":
                    train.narrow(0, 10, 100).zero_();
                    break;
                case "one large":
                    train.narrow(0, 70, 1).mul_(1e3);
                    break;
            }
        }

        using var all = new StrongestSink(k);
        using var sink = new StrongestSink(k);
        long[] queryIds = [.. Enumerable.Range(0, Q)];
        long[] trainIds = [.. Enumerable.Range(1000, N)];
        all.Begin(queryIds, trainIds, float64);
        sink.Begin(queryIds, trainIds, float64);
        var weights = layers.Select(l => SpectralWeights.Exact(l.Weights, l.Energy.clone())).ToList();
        using var owned = NewDisposeScope();
        using var queries = new QueryGradients(
            [Contraction.Spectral, Contraction.Spectral, Contraction.Dense],
            new ContractionPlanner(1 << 26, 8),
            Q,
            owned
        );
        using (
            var batch = Batch(
                queryIds,
                [.. layers.Select((l, n) => (BlockGradients)new SpectralGradients(Factored(l.Query, 0, Q), weights[n]))],
                queryDense,
                0,
                Q
            )
        )
        {
            queries.Add(batch, withNorms: false);
        }

        queries.Complete();
        using var search = new StrongestSearch(sink) { Rank = rank };
        for (var start = 0; start < N; start += 40)
        {
            using var batch = Batch(
                [.. trainIds.Skip(start).Take(40)],
                [.. layers.Select(l => Factored(l.Train, start, 40))],
                trainDense,
                start,
                40
            );
            search.Take(queries, batch, 0, start, queryIds);
            all.Add(0, start, queries.Dot(batch));
        }

        var (expected, found) = (all.Finish(Metadata()), sink.Finish(Metadata()));
        for (var q = 0; q < Q; q++)
        {
            Agree(expected.Proponents(q), found.Proponents(q));
            Agree(expected.Opponents(q), found.Opponents(q));
        }

        if (kind is "no noise")
        {
            // What can be excluded is: 8 terms of a smooth W leave little.
            Assert.True(search.ScoredExactly < Q * N / 2, $"{search.ScoredExactly} of {Q * N}");
        }

        weights.ForEach(w => w.Dispose());

        // Sums in another order: 1e-15 of the terms. Examples that are equal may change places where rounding is all that tells them apart.
        static void Agree(RankedExamples expected, RankedExamples found)
        {
            Assert.Equal(expected.Count, found.Count);
            var scale = Math.Max(1e-300, expected.Max(e => Math.Abs(e.Score)));
            foreach (var (e, f) in expected.Zip(found))
            {
                Assert.InRange(Math.Abs(e.Score - f.Score), 0, 1e-11 * scale);
            }

            var cut = expected[^1].Score;
            var clear = expected.Where(e => Math.Abs(e.Score - cut) > 1e-10 * scale).Select(e => e.Id).Order();
            Assert.Equal(clear, found.Where(e => Math.Abs(e.Score - cut) > 1e-10 * scale).Select(e => e.Id).Order());
            Assert.Equal(found.Count, found.Select(e => e.Id).Distinct().Count());
        }
    }

    /// <summary>The estimator's own call: enough queries and examples that a rank is chosen, with two layers, biases, several
    /// batches.</summary>
    [Theory]
    [InlineData("EK-FAC")]
    [InlineData("K-FAC")]
    public void StrongestAreThoseOfAllScores(string method)
    {
        using var model = nn.Sequential(nn.Linear(300, 160, dtype: float64), nn.Tanh(), nn.Linear(160, 5, dtype: float64));
        model.eval();
        var scales = arange(1, 301, 1, float64).pow(-1.0);
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var (train, queries) = (Data(900), Data(200));
        using var fit = Curvature.LayerwiseMethods.Fit(method, task, train);
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(task, train, queries);
        foreach (var k in new[] { 3, 900 })
        {
            var strongest = new InfluenceFunction(fit).Strongest(k, task, train, queries);
            for (var q = 0; q < 200; q += 19)
            {
                Agree(scores.Proponents(q, k), strongest.Proponents(q));
                Agree(scores.Opponents(q, k), strongest.Opponents(q));
            }
        }

        Examples Data(long n) =>
            Examples.FromTensors(("x", randn([n, 300], dtype: float64) * scales * 10), ("y", randint(0, 5, [n]))) with
            {
                BatchSize = 128,
            };

        static void Agree(RankedExamples expected, RankedExamples found)
        {
            Assert.Equal(expected.Ids, found.Ids);
            foreach (var (e, f) in expected.Zip(found))
            {
                Assert.InRange(Math.Abs(e.Score - f.Score), 0, 1e-10 * (1e-3 + Math.Abs(e.Score)));
            }
        }
    }

    private static ScoreMetadata Metadata() => new() { Estimator = "search", Unit = "product" };

    private static FactoredGradients Factored((Tensor A, Tensor D) side, long start, long count) =>
        new(side.A.narrow(0, start, count).clone, side.D.narrow(0, start, count), side.A.shape[2], weight: true, bias: false);

    private static BatchGradients Batch(long[] ids, BlockGradients[] blocks, Tensor dense, long start, long count) =>
        new(NewDisposeScope(), ids, float64, CPU)
        {
            Blocks = [.. blocks, new DenseGradients(count, () => [dense.narrow(0, start, count).clone()])],
        };

    private static Tensor Flat(Tensor factors) => factors.squeeze(1);

    private static Tensor Exact(Layer layer)
    {
        var (q, z) = Coordinates(layer);
        return (q * layer.Weights.to(float64)).flatten(1).mm(z.flatten(1).t());
    }

    private static Tensor Largest(Layer layer)
    {
        var (q, z) = Coordinates(layer);
        var w = layer.Weights.to(float64);
        return (q.Squared() * w).sum(1, 2).sqrt().unsqueeze(1) * (z.Squared() * w).sum(1, 2).sqrt().unsqueeze(0);
    }

    private static (Tensor Query, Tensor Train) Coordinates(Layer layer) =>
        (
            layer.Query.D.to(float64).transpose(1, 2) * layer.Query.A.to(float64),
            layer.Train.D.to(float64).transpose(1, 2) * layer.Train.A.to(float64)
        );

    /// <summary>Eigenvalues that fall by powers, measured ones that scatter around them, and examples as the fit saw them; the first are
    /// large where eigenvalues are small.</summary>
    private static Layer MakeLayer(double damping, double noise, ScalarType type, int queries = 7, int train = 50)
    {
        var (g, a) = (arange(Outputs, 0, -1, float64).pow(-1.5), arange(Inputs, 0, -1, float64).pow(-1.5));
        var scatter = (randn([Outputs, Inputs], dtype: float64) * noise).exp();
        var energy = g.outer(a) * 100 * scatter;
        var weights = (energy + damping).reciprocal();
        var (rows, columns) = (energy.mean([1]).sqrt(), energy.mean([0]).sqrt());
        var (query, other) = (Side(queries), Side(train));
        other.A[..3] = randn([3, 1, Inputs], dtype: float64).to(type);
        return new Layer(weights.to(type), energy.to(type), query, other);

        (Tensor A, Tensor D) Side(int n) =>
            ((randn([n, 1, Inputs], dtype: float64) * columns).to(type), (randn([n, 1, Outputs], dtype: float64) * rows).to(type));
    }

    private sealed record Layer(Tensor Weights, Tensor Energy, (Tensor A, Tensor D) Query, (Tensor A, Tensor D) Train);
}
