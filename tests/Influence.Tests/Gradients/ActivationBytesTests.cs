using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Groups;
using Influence.Scorers;
using Influence.Stores;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>Batches whose activations do not fit <see cref="MemoryBudget"/> are cut: no number changes, and memory stays within
/// it.</summary>
public sealed class ActivationBytesTests : IDisposable
{
    private const int Positions = 64;
    private const int Width = 32;

    private readonly DisposeScope _scope = NewDisposeScope();
    private int _largest;

    public void Dispose() => _scope.Dispose();

    /// <summary>An example of 64 positions takes about 100 KiB here, 1 MiB holds ten: nothing may see more, and every score is that of
    /// whole
    /// batches to the rounding of float64.</summary>
    [Fact]
    public void CutBatchesGiveTheSameNumbers()
    {
        var (task, train, queries) = Job(float64, examples: 40);
        const long Little = 1 << 20;
        Compare(
            "pairs",
            budget =>
                Numbers(
                    new TracIn { MemoryBudget = budget }
                        .Score(task, train, queries)
                        .Values
                )
        );
        Compare(
            "self-influence",
            budget =>
                new TracIn { MemoryBudget = budget }
                    .SelfInfluence(task, train)
                    .Values.ToArray()
        );
        Compare(
            "norms",
            budget =>
                new GraNd { MemoryBudget = budget }
                    .Score(task, train)
                    .Values.ToArray()
        );
        Compare(
            "strongest",
            budget =>
                [
                    .. new TracIn { MemoryBudget = budget }
                        .Strongest(3, task, train, queries)
                        .Proponents(0)
                        .Select(p => p.Score),
                ]
        );
        Compare(
            "matched",
            budget =>
                new TracIn { MemoryBudget = budget }
                    .ScoreMatched(task, train, train)
                    .Values.ToArray()
        );
        Compare(
            "groups",
            budget =>
            {
                var scores = new GroupInfluence(new TracIn { MemoryBudget = budget }).Score(
                    task,
                    train,
                    ExampleGroups.Of(train.Ids, id => $"group {id % 3}"),
                    queries
                );
                return
                [
                    .. Enumerable
                        .Range(0, scores.QueryGroups.Count)
                        .SelectMany(q => Enumerable.Range(0, 3).Select(group => scores.Sum(q, group))),
                ];
            }
        );
        Compare(
            "store",
            budget =>
            {
                var folder = Directory.CreateTempSubdirectory("influence-activations");
                try
                {
                    var projection = new GradientProjection
                    {
                        Dimension = 4,
                        MemoryBudget = budget,
                        Dtype = ScalarType.Float64,
                    };
                    var store = GradientStore.Write(task, train, projection, folder.FullName);
                    return Numbers(
                        new StoredGradients(store) { MemoryBudget = budget }
                            .Score(task, queries)
                            .Values
                    );
                }
                finally
                {
                    folder.Delete(recursive: true);
                }
            }
        );
        Compare(
            "K-FAC",
            budget =>
            {
                using var fit = Kfac.Fit(task, train, new Kfac.Options { MemoryBudget = budget });
                return Numbers(
                    new InfluenceFunction(fit) { MemoryBudget = budget, Tolerance = 0 }
                        .Score(task, train, queries)
                        .Values
                );
            }
        );
        Compare(
            "products with the Gauss-Newton matrix",
            budget =>
            {
                using var session = GradientSession.Open(task, train, queries: null, memory: budget);
                var layout = new ParameterVector(session);
                var product = CurvatureProduct.Of(CurvatureMatrix.GaussNewton, session, layout);
                return Numbers(product.Over(train, ones([1, layout.Length], float64), default));
            }
        );

        void Compare(string what, Func<MemoryBudget, double[]> score, int most = 12)
        {
            var whole = Fresh(MemoryBudget.HalfOfMemory);
            Assert.True(_largest > most || most == 40, $"{what}: {_largest} examples at once without need to cut");
            var cut = Fresh(Little);
            Assert.True(_largest <= most, $"{what}: {_largest} examples at once");
            var error = whole.Zip(cut).Max(pair => Math.Abs(pair.First - pair.Second));
            Assert.True(error <= 1e-10 * whole.Max(Math.Abs), $"{what} differs by {error} where batches are cut");

            // A new model each time, so that no plan is known.
            double[] Fresh(MemoryBudget budget)
            {
                (task, train, queries) = Job(float64, examples: 40);
                _largest = 0;
                return score(budget);
            }
        }

        static double[] Numbers(Tensor values) => values.to_type(float64).cpu().contiguous().data<double>().ToArray();
    }

    /// <summary>Longer texts take smaller batches: each shape is counted, and one that fits by the count of a larger one is not.</summary>
    [Fact]
    public void EachShapeIsCounted()
    {
        using var attention = new Attention(Width, float64);
        var seen = new List<(long Examples, long Length)>();
        var task = new InfluenceTask(attention)
        {
            TrainingLoss = b =>
            {
                seen.Add((b.Count, b["x"].shape[1]));
                return attention.call(b["x"]).Squared().sum([1L, 2L]);
            },
        };
        List<ExampleBatch> batches =
        [
            .. new[] { 16, 128, 8, 64 }.Select(
                (length, k) =>
                    new ExampleBatch(["x"], [randn([20, length, Width], float64)], [.. Enumerable.Range(20 * k, 20).Select(id => (long)id)])
            ),
        ];
        var scores = new TracIn { MemoryBudget = 4L << 20 }.SelfInfluence(task, Examples.FromBatches(batches));
        Assert.Equal(80, scores.Count);
        Assert.All(seen, pass => Assert.True(pass.Length < 128 || pass.Examples < 20, $"{pass.Examples} of length {pass.Length} at once"));
        Assert.Contains(seen, pass => pass == (20, 16));
        Assert.Contains(seen, pass => pass == (20, 8));

        // A row of attention weights for each position: quadratic, so that twice the length takes less than half as many.
        var (most64, most128) = (Most(64), Most(128));
        Assert.InRange(most128, 1, most64 / 2);

        long Most(long length) => seen.Where(pass => pass.Length == length).Max(pass => pass.Examples);
    }

    /// <summary>What is counted is within a factor of two of what the process is seen to take: 256 examples of 2 MB.</summary>
    [Fact]
    public void TheProcessHoldsWhatTheBudgetAllows()
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        var wide = nn.Linear(16, 65_536);
        var model = new Composite(x => wide.call(x).tanh().sum([1L]), ("wide", wide));
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b["x"]).Squared(), Layers = LayerSelection.All };
        var train = Examples.FromTensors(("x", randn([256, 16]))) with { BatchSize = 256 };
        var small = Peak(32L << 20, out var cut);
        var large = Peak(2L << 30, out var whole);
        Assert.All(small.Zip(large), pair => Assert.Equal(pair.First, pair.Second, 1e-4 * pair.First));

        // 256 outputs of 65,536 numbers, the activation's result and the gradient of each: 3 x 64 MiB at least.
        Assert.True(whole > 150 << 20, $"{whole >> 20} MiB in whole batches");
        Assert.True(cut < whole / 2, $"{cut >> 20} MiB in batches cut to 32 MiB, {whole >> 20} MiB in whole ones");

        IReadOnlyList<double> Peak(long budget, out long bytes)
        {
            GC.Collect();
            File.WriteAllText("/proc/self/clear_refs", "5");
            var before = Environment.WorkingSet;
            var values = new TracIn { MemoryBudget = budget }
                .SelfInfluence(task with { }, train)
                .Values;
            var line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("VmHWM:", StringComparison.Ordinal));
            bytes = (long.Parse(line["VmHWM:".Length..^"kB".Length], CultureInfo.InvariantCulture) * 1024) - before;
            return values;
        }
    }

    /// <summary>A sequence model with a mean over positions; it notes the largest batch that it sees.</summary>
    private (InfluenceTask Task, Examples Train, Examples Queries) Job(ScalarType type, int examples)
    {
        manual_seed(5);
        var (first, second, head) = (
            nn.Linear(8, Width, dtype: type),
            nn.Linear(Width, Width, dtype: type),
            nn.Linear(Width, 3, dtype: type)
        );
        var model = new Composite(
            x => head.call(second.call(first.call(x).tanh()).tanh().mean([1L])),
            ("first", first),
            ("second", second),
            ("head", head)
        );
        model.eval();
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b =>
            {
                _largest = Math.Max(_largest, b.Count);
                return Losses.CrossEntropy(model.call(b["x"]), b["y"]);
            },
        };
        return (task, Data(examples), Data(6));

        Examples Data(int count) =>
            Examples.FromTensors(("x", randn([count, Positions, 8], dtype: type)), ("y", randint(0, 3, [count]))) with
            {
                BatchSize = count,
            };
    }

    /// <summary>Attention in plain tensor operations.</summary>
    private sealed class Attention : nn.Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Linear qkv;

        public Attention(long width, ScalarType type)
            : base(nameof(Attention))
        {
            qkv = nn.Linear(width, 3 * width, dtype: type);
            RegisterComponents();
            eval();
        }

        public override Tensor forward(Tensor input)
        {
            var parts = qkv.call(input).chunk(3, -1);
            var weights = parts[0].matmul(parts[1].transpose(1, 2)).softmax(-1); // [B, T, T]
            return weights.matmul(parts[2]);
        }
    }
}
