using System.Diagnostics;
using Influence.Quality.Data;
using Influence.Quality.Training;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Quality.Parts;

/// <summary>
/// One training, batch by batch the same each time: plain, with its outputs recorded, with gradient norms from the loop, and with in-run
/// values. What each takes beyond the plain one is its cost.
/// </summary>
internal sealed class WatchedRun : IDisposable
{
    /// <summary>Validation examples that go with a step of in-run values.</summary>
    public const int ValidationBatch = 64;

    private readonly Recipe _recipe;
    private readonly LabelledData _data;
    private readonly long _seed;

    public WatchedRun(Recipe recipe, LabelledData data, long seed)
    {
        (_recipe, _data, _seed) = (recipe, data, seed);
        Plain(null); // the first run warms up
        PlainSeconds = Plain(null);
        DynamicsSeconds = Math.Max(0, Plain(Dynamics) - PlainSeconds);
        NormSeconds = Math.Max(0, FromTheLoop(Norms, null) - PlainSeconds);
        InRunSeconds = Math.Max(0, FromTheLoop(null, InRun) - PlainSeconds);
    }

    public TrainingDynamics Dynamics { get; } = new();

    public TrainingDynamics Norms { get; } = new();

    public InRunValues InRun { get; } = new();

    public double PlainSeconds { get; }

    public double DynamicsSeconds { get; }

    public double NormSeconds { get; }

    public double InRunSeconds { get; }

    public void Dispose()
    {
        Dynamics.Dispose();
        Norms.Dispose();
    }

    private double Plain(TrainingDynamics? dynamics) =>
        Timed(
            (model, ids, x, y, optimizer) =>
            {
                var logits = model.call(x); // [B, C]
                dynamics?.Record(ids, logits, y);
                var loss = F.cross_entropy(logits, y);
                optimizer.zero_grad();
                loss.backward();
                optimizer.step();
            }
        );

    private double FromTheLoop(TrainingDynamics? norms, InRunValues? values)
    {
        TrainingGradients? loop = null;
        return Timed(
            (model, ids, x, y, optimizer) =>
            {
                var batch = ExampleBatch.Of(ids, ("x", x), ("y", y));
                var validation = values is null ? null : Validation();
                loop ??= TrainingGradients.Open(TrainedModel.Task(model), batch, validation);
                optimizer.zero_grad();
                using var step = loop.Step(batch, validation);
                step.Accumulate();
                norms?.RecordGradientNorms(ids, step.GradientNorms());
                values?.Add(step, optimizer);
                optimizer.step();
            },
            atTheEnd: () => loop?.Dispose()
        );
    }

    private double Timed(Action<nn.Module<Tensor, Tensor>, long[], Tensor, Tensor, optim.Optimizer> step, Action? atTheEnd = null)
    {
        manual_seed(_seed);
        using var model = _recipe.Create();
        using var optimizer = optim.SGD(model.parameters(), _recipe.LearningRate, _recipe.Momentum);
        model.train();
        var clock = Stopwatch.StartNew();
        for (var epoch = 0; epoch < _recipe.Epochs; epoch++)
        {
            foreach (var ids in BatchOrder.Batches(_data.TrainIds, _seed, epoch, _recipe.BatchSize))
            {
                using var scope = NewDisposeScope();
                var index = tensor(ids); // [B]
                step(model, ids, _data.TrainX.index_select(0, index), _data.TrainY.index_select(0, index), optimizer);
            }
        }

        atTheEnd?.Invoke();
        return clock.Elapsed.TotalSeconds;
    }

    /// <summary>Drawn anew for each step, so that all validation examples have a say.</summary>
    private ExampleBatch Validation()
    {
        var index = randint(_data.QueryX.shape[0], [ValidationBatch], ScalarType.Int64); // [V]
        return ExampleBatch.Of(
            index.data<long>().ToArray(),
            ("x", _data.QueryX.index_select(0, index)),
            ("y", _data.QueryY.index_select(0, index))
        );
    }
}
