using Influence.Curvature;
using Influence.Estimators;
using Influence.Stores;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Stores;

/// <summary>What is asked of stores: TRAK, TrackStar, sums over members, filters; against formulas that are written out.</summary>
public sealed class MemberEstimatorTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
    }

    private static GradientProjection Whole =>
        new()
        {
            Dimension = 1000,
            Dtype = ScalarType.Float64,
            ExamplesPerShard = 4,
        };

    private static GradientProjection Dense(int dimension) => Whole with { Form = GradientProjection.Kind.Dense, Dimension = dimension };

    /// <summary>A linear logistic model whose scores were worked out by hand; without a projection TRAK is its closed form.</summary>
    [Fact]
    public void TrakOfALogisticModel()
    {
        using var scope = NewDisposeScope();
        using var linear = nn.Linear(2, 1, hasBias: false, dtype: ScalarType.Float64);
        using (no_grad())
        {
            linear.weight.copy_(tensor(new[] { 0.5, -0.25 }).reshape(1, 2));
        }

        var task = new InfluenceTask(linear)
        {
            TrainingLoss = b => nn.functional.softplus(b["y"] * linear.call(b["x"]).squeeze(1) * tensor(-1.0)),
        };
        var train = Examples.FromTensors(
            ("x", tensor(new double[] { 1, 0, 0, 1, 1, 1, 2, -1 }).reshape(4, 2)),
            ("y", tensor(new double[] { 1, -1, 1, 1 }))
        );
        var query = Examples.FromTensors(("x", tensor(new double[] { 1, -1 }).reshape(1, 2)), ("y", tensor(new double[] { 1 })));
        var store = GradientStore.Write(task, train, Dense(100), _folder.Path("s"));
        using var scores = new Trak(store).Score(task, train, query);
        double[] expected = [0.044417, 0.128772, -0.077263, 0.117900];
        Assert.All(scores.Values.data<double>().ToArray().Zip(expected), pair => Assert.Equal(pair.Second, pair.First, 1e-6));
    }

    /// <summary>Two models, every parameter kept: phi by autograd of log(p / (1 - p)) itself, and the two means apart.</summary>
    [Fact]
    public void TrakOfSeveralModels()
    {
        using var scope = NewDisposeScope();
        var (x, y) = (randn([24, 2], ScalarType.Float64), randint(0, 2, [24]).to_type(ScalarType.Float64) * 2 - 1);
        var (qx, qy) = (randn([3, 2], ScalarType.Float64), ones([3], ScalarType.Float64));
        var (train, queries) = (Examples.FromTensors(("x", x), ("y", y)), Examples.FromTensors(("x", qx), ("y", qy)));
        var models = Enumerable
            .Range(0, 2)
            .Select(_ =>
                nn.Sequential(
                    ("a", nn.Linear(2, 2, dtype: ScalarType.Float64)),
                    ("t", nn.Tanh()),
                    ("b", nn.Linear(2, 1, dtype: ScalarType.Float64))
                )
            )
            .ToList();
        var tasks = models
            .Select(m => new InfluenceTask(m)
            {
                TrainingLoss = b => nn.functional.softplus(b["y"] * m.call(b["x"]).squeeze(1) * tensor(-1.0)),
            })
            .ToList();
        var members = GradientStore.WriteMembers(tasks, train, Dense(100), _folder.Path("m"));
        Assert.Equal(2, GradientStore.OpenMembers(_folder.Path("m")).Count);
        var (kernel, missing) = (zeros([3, 24], ScalarType.Float64), zeros([24], ScalarType.Float64));
        foreach (var model in models)
        {
            var phi = SingleExampleLoop.Gradients(model, inputs => inputs[1] * model.call(inputs[0]).squeeze(1), [x, y]);
            var own = SingleExampleLoop.Gradients(model, inputs => inputs[1] * model.call(inputs[0]).squeeze(1), [qx, qy]);
            kernel += own.mm(phi.t().mm(phi).inverse()).mm(phi.t()) / 2;
            missing += (1 - (y * model.call(x).squeeze(1)).sigmoid()).detach() / 2;
        }

        using var scores = new Trak(members) { OtherModels = tasks }.Score(tasks[0], train, queries);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, kernel * missing) < 1e-8);
        using var some = new Trak(members) { OtherModels = tasks }.Score(tasks[0], train.Only([2, 3, 20]), queries);
        Assert.True(SingleExampleLoop.RelativeError(some.Values, scores.Values.index_select(1, tensor(new long[] { 2, 3, 20 }))) < 1e-10);
        Refused("2 members and 1 models", () => new Trak(members).Score(tasks[0], train, queries));
        models.ForEach(model => model.Dispose());
    }

    [Fact]
    public void WhatTrakCannotSayIsRefused()
    {
        using var scope = NewDisposeScope();
        Refused(
            "singular",
            () => new Trak(GradientStore.Write(_c.Task(), _c.Train, Dense(12), _folder.Path("w"))).Score(_c.Task(), _c.Train, _c.Queries)
        );

        // A parameter without a say: its column is zero.
        using var idle = nn.Sequential(
            ("a", nn.Linear(1, 1, dtype: ScalarType.Float64)),
            ("z", nn.Linear(1, 1, hasBias: false, dtype: ScalarType.Float64))
        );
        using (no_grad())
        {
            ((TorchSharp.Modules.Linear)idle[1]).weight.copy_(tensor(new[] { 0.0 }).reshape(1, 1));
        }

        var task = new InfluenceTask(idle) { TrainingLoss = b => nn.functional.softplus(idle.call(b["x"]).squeeze(1) * tensor(-1.0)) };
        var train = Examples.FromTensors(("x", randn([9, 1], ScalarType.Float64)));
        var flat = GradientStore.Write(task, train, Dense(50), _folder.Path("i"));
        Refused("are singular", () => new Trak(flat).Score(task, train, train));
        using var damped = new Trak(flat) { Damping = Damping.Default }.Score(task, train, train);
        Assert.True(damped.Values.isfinite().all().item<bool>());

        // A loss of exactly zero has no margin: named, and no silent zero.
        var sure = _c.Task(b => _c.Loss(b) * b["y"].ne(tensor(1L)).to_type(ScalarType.Float64));
        var doubtful = GradientStore.Write(sure, _c.Train, Dense(3), _folder.Path("z"));
        Assert.NotEmpty(Assert.Throws<InfluenceException>(() => new Trak(doubtful).Score(sure, _c.Train, _c.Queries)).ExampleIds);
        var negative = _c.Task(b => _c.Loss(b) - 5);
        Refused(
            "negative",
            () => new Trak(GradientStore.Write(negative, _c.Train, Dense(3), _folder.Path("n"))).Score(negative, _c.Train, _c.Queries)
        );
    }

    [Theory]
    [InlineData(0.3)]
    [InlineData(0.0)]
    [InlineData(null)]
    public void TrackStarIsItsFormula(double? mixing)
    {
        using var scope = NewDisposeScope();
        const int Components = 5;
        string[] names = ["hidden.weight", "hidden.bias", "head.weight", "head.bias"];
        var moments = names
            .Select(name => (Train: Moments(_c.TrainGradients(n => n == name), 11), Query: Moments(_c.QueryGradients(n => n == name), 4)))
            .ToList();
        var (train, query) = (Pooled(moments.Select(m => m.Train)), Pooled(moments.Select(m => m.Query)));
        var c = mixing ?? (train / (query + train));
        var (z, q) = (new List<Tensor>(), new List<Tensor>());
        foreach (var (name, (ofTrain, ofQuery)) in names.Zip(moments))
        {
            var h = (ofQuery * c) + (ofTrain * (1 - c));
            var (values, vectors) = linalg.eigh(h + (0.1 * h.trace() / h.shape[0] * eye(h.shape[0], dtype: ScalarType.Float64)));
            var root = (vectors / values.sqrt()).mm(vectors.t());
            z.Add(_c.TrainGradients(n => n == name).mm(root));
            q.Add(_c.QueryGradients(n => n == name).mm(root));
        }

        var expected = Unit(cat(q, 1)).mm(Unit(cat(z, 1)).t());
        var store = GradientStore.Write(_c.Task(), _c.Train, Whole, _folder.Path("s"));
        using var scores = new TrackStar(store) { Mixing = mixing, Components = Components }.Score(_c.Task(), _c.Train, _c.Queries);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-9);
        Refused("share", () => new TrackStar(store) { Mixing = 1.5 });
        Refused("whole gradient", () => new TrackStar(GradientStore.Write(_c.Task(), _c.Train, Dense(4), _folder.Path("d"))));

        static Tensor Moments(Tensor g, int count) => g.t().mm(g) / count;

        static double Pooled(IEnumerable<Tensor> all) =>
            all.SelectMany(m => linalg.eigvalsh(m).data<double>().ToArray()).OrderDescending().ElementAt(Components - 1);

        static Tensor Unit(Tensor rows) => rows / rows.norm(1, keepdim: true, p: 2);
    }

    /// <summary>Sums over checkpoints: dot products times rates as TracIn has them, and cosines of Adam's updates times the rates' shares,
    /// LESS.</summary>
    [Theory]
    [InlineData(TracIn.GradientSimilarity.Dot, GradientProjection.UpdateDirection.Gradient)]
    [InlineData(TracIn.GradientSimilarity.Cosine, GradientProjection.UpdateDirection.AdamUpdate)]
    public void MembersAreSummed(TracIn.GradientSimilarity similarity, GradientProjection.UpdateDirection direction)
    {
        using var scope = NewDisposeScope();
        using var optimizer = optim.Adam(_c.Model.parameters(), 1e-2);
        var checkpoints = new List<Checkpoint>();
        for (var step = 1; step <= 4; step++)
        {
            optimizer.zero_grad();
            _c.Loss(ExampleBatch.Of([.. Enumerable.Range(0, 11).Select(i => (long)i)], ("x", _c.X), ("y", _c.Y))).mean().backward();
            optimizer.ParamGroups.First().LearningRate = 0.02 / step;
            optimizer.step();
            if (step % 2 == 0)
            {
                checkpoints.Add(Checkpoint.Save(_folder.Path($"{step}.safetensors"), _c.Model, optimizer, step));
            }
        }

        optimizer.zero_grad();
        var state = ModelState.Of(_c.Model, _c.X);
        var members = GradientStore.WriteMembers(_c.Task(), checkpoints, _c.Train, Whole with { Direction = direction }, _folder.Path("m"));
        using var scores = new StoredGradients(members) { Checkpoints = checkpoints, Similarity = similarity }.Score(
            _c.Task(),
            _c.Train,
            _c.Queries
        );
        state.AssertUnchanged(_c.Model, _c.X);
        if (similarity == TracIn.GradientSimilarity.Dot)
        {
            using var expected = new TracIn { Checkpoints = checkpoints }.Score(_c.Task(), _c.Train, _c.Queries);
            Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected.Values) < 1e-12);
            return;
        }

        Assert.Equal("LESS", scores.Metadata.Estimator);
        var sum = zeros([4, 11], ScalarType.Float64);
        var total = checkpoints.Sum(checkpoint => checkpoint.LearningRate);
        foreach (var (checkpoint, member) in checkpoints.Zip(members))
        {
            checkpoint.LoadInto(_c.Model);
            using var own = new StoredGradients(member) { Similarity = similarity }.Score(_c.Task(), _c.Queries);
            sum += own.Values * (checkpoint.LearningRate / total);
        }

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, sum) < 1e-12);
    }

    [Fact]
    public void SomeExamplesAlone()
    {
        using var scope = NewDisposeScope();
        var estimator = new StoredGradients(GradientStore.Write(_c.Task(), _c.Train, Whole, _folder.Path("s")));
        using var all = estimator.Score(_c.Task(), _c.Queries);
        var groups = ExampleGroups.Of(_c.Train.Ids, id => id % 3 == 0 ? "third" : "rest");
        using var some = estimator.Only(groups, "third").Score(_c.Task(), _c.Queries);
        Assert.Equal([0L, 3, 6, 9], some.TrainIds);
        Assert.True(SingleExampleLoop.RelativeError(some.Values, all.Values.index_select(1, tensor(new long[] { 0, 3, 6, 9 }))) < 1e-12);

        // A shard without any of them is not read, nor looked for.
        File.Delete(_folder.Path("s/shard-000001.bin"));
        using var few = estimator.Only([1, 9]).Score(_c.Task(), _c.Queries);
        Assert.True(SingleExampleLoop.RelativeError(few.Values, all.Values.index_select(1, tensor(new long[] { 1, 9 }))) < 1e-12);
        Assert.Equal(9, estimator.Only([1, 9]).Only(groups, "third").Strongest(1, _c.Task(), _c.Queries).Proponents(0)[0].Id);
        Refused("id 99", () => estimator.Only([1, 99]));
        Refused("found none", () => estimator.Only([]));
    }

    [Fact]
    public void OtherMembersAreRefused()
    {
        var store = GradientStore.Write(_c.Task(), _c.Train, Whole, _folder.Path("a"));
        var other = GradientStore.Write(_c.Task(), _c.Train.Only([1, 2, 3]), Whole, _folder.Path("b"));
        Refused("the examples' ids", () => new StoredGradients([store, other]));
        Refused("the projection", () => new Trak([store, GradientStore.Write(_c.Task(), _c.Train, Dense(4), _folder.Path("c"))]));
        Refused("At least one", () => new Trak([]));
        Refused("0 members", () => GradientStore.OpenMembers(_folder.Path("nothing")));
    }

    /// <summary>Weights 1/6, 1/3, 1/2 of three positions; padding on either side counts for nothing, whatever it holds.</summary>
    [Fact]
    public void RdsPoolsByPosition()
    {
        using var scope = NewDisposeScope();
        var h = randn([5, 3, 4], ScalarType.Float64);
        var pooled = (h.select(1, 0) / 6) + (h.select(1, 1) / 3) + (h.select(1, 2) / 2);
        var unit = pooled / pooled.norm(1, keepdim: true, p: 2);
        var padded = cat([full([5, 2, 4], double.NaN, ScalarType.Float64), h, randn([5, 1, 4], ScalarType.Float64)], 1);
        var mask = tensor(new long[] { 0, 0, 1, 1, 1, 0 }).expand(5, 6);
        var task = _c.Task();
        using var plain = new RdsPlus(b => b["h"]).Score(task, Examples.FromTensors(("h", h)), Examples.FromTensors(("h", h)));
        using var masked = new RdsPlus(b => b["h"]).Score(
            task with
            {
                PositionMask = b => b["m"],
            },
            Examples.FromTensors(("h", padded), ("m", mask)),
            Examples.FromTensors(("h", padded), ("m", mask))
        );
        Assert.True(SingleExampleLoop.RelativeError(plain.Values, unit.mm(unit.t())) < 1e-12);
        Assert.True(SingleExampleLoop.RelativeError(masked.Values, plain.Values) < 1e-12);
        Refused(
            "No position is valid",
            () =>
                new RdsPlus(b => b["h"]).Score(
                    task with
                    {
                        PositionMask = b => b["m"] * tensor(0L),
                    },
                    Examples.FromTensors(("h", padded), ("m", mask)),
                    Examples.FromTensors(("h", padded), ("m", mask))
                )
        );
        Refused(
            "[B, T, d]",
            () => new RdsPlus(b => b["h"].select(1, 0)).Score(task, Examples.FromTensors(("h", h)), Examples.FromTensors(("h", h)))
        );
    }

    private static void Refused(string expected, Func<object> call) =>
        Assert.Contains(expected, Assert.Throws<InfluenceException>(call).Message, StringComparison.Ordinal);
}
