using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Workloads;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Benchmarks.Recording;

/// <summary>The same steps of training by SGD, plain and with each recorder.</summary>
internal sealed class RecordedSteps : IDisposable
{
    public const string Plain = "plain step";
    public const string Dynamics = "with TrainingDynamics.Record";
    public const string InPlace = "TrainingGradients in place of backward";
    public const string Norms = "TrainingGradients, gradient norms";
    public const string FirstOrder = "TrainingGradients, in-run values, first order";
    public const string SecondOrder = "TrainingGradients, in-run values, second order";
    public const string Selection = "TrainingGradients, online selection of half";

    // Small: hundreds of steps on the same batches leave the model much as it was.
    private const double LearningRate = 1e-3;

    // Few, so that steps that are compared are close in time.
    private const int StepsAtOnce = 5;

    private readonly Workload _workload;
    private readonly Workload _hooked;
    private readonly DeviceClock _clock;
    private readonly optim.Optimizer _optimizer;
    private readonly optim.Optimizer _hookedOptimizer;
    private readonly List<ExampleBatch> _batches = [];
    private readonly ExampleBatch _validation;
    private readonly TrainingGradients _loop;

    public RecordedSteps(string name, Device device)
    {
        // Two models: hooks must cost the plain step nothing.
        (_workload, _hooked) = (WorkloadCatalog.Create(name, device, quick: true), WorkloadCatalog.Create(name, device, quick: true));
        _clock = new DeviceClock(device);
        _workload.Model.train();
        _hooked.Model.train();
        _optimizer = optim.SGD(_workload.Model.parameters(), LearningRate);
        _hookedOptimizer = optim.SGD(_hooked.Model.parameters(), LearningRate);
        for (var start = 0L; start < StepsAtOnce * _workload.BatchSize; start += _workload.BatchSize)
        {
            _batches.Add(BatchOf(_workload.Train, start, _workload.BatchSize, firstId: start));
        }

        _validation = BatchOf(_workload.Queries, 0, ValidationCount, firstId: _workload.TrainCount);
        _loop = TrainingGradients.Open(
            new InfluenceTask(_hooked.Model) { TrainingLoss = b => LossesOf(_hooked.Model.call(b["x"]), b["y"]) },
            _batches[0],
            _validation
        );
    }

    public static IReadOnlyList<string> Names { get; } = [Plain, Dynamics, InPlace, Norms, FirstOrder, SecondOrder, Selection];

    /// <summary>The model: the workload's title without its numbers of examples.</summary>
    public string Title =>
        _workload.Title[.._workload.Title.IndexOf($", {_workload.TrainCount:N0} training examples", StringComparison.Ordinal)];

    public string DataNote => _workload.DataNote;

    public int BatchSize => _workload.BatchSize;

    public int ValidationCount => _workload.BatchSize / 10;

    /// <summary>How many steps one timing is of.</summary>
    public int Count => _batches.Count;

    /// <summary>The aim, as a share of the plain step; null for none.</summary>
    public static double? AimOf(string name) =>
        name switch
        {
            Dynamics => 1.03,
            Norms => 1.30,
            _ => null,
        };

    public Work Timed(string name) => Work.Always(() => [(name, _clock.Time(() => Run(name)))]);

    public void Dispose()
    {
        _loop.Dispose();
        _hookedOptimizer.Dispose();
        _optimizer.Dispose();
        foreach (var tensor in _batches.Append(_validation).SelectMany(batch => batch.Names.Select(n => batch[n])))
        {
            tensor.Dispose();
        }

        _hooked.Dispose();
        _workload.Dispose();
    }

    /// <summary>Runs one kind of step over all batches.</summary>
    public void Run(string name)
    {
        using var dynamics = new TrainingDynamics();
        var values = new InRunValues { Order = name == SecondOrder ? InRunValues.Expansion.Second : InRunValues.Expansion.First };
        var selection = new OnlineSelection();
        foreach (var batch in _batches)
        {
            using var scope = NewDisposeScope();
            switch (name)
            {
                case Plain:
                    PlainStep(batch, null);
                    break;
                case Dynamics:
                    PlainStep(batch, dynamics);
                    break;
                case InPlace:
                    Step(batch, null, step => step.Accumulate());
                    break;
                case Norms:
                    Step(
                        batch,
                        null,
                        step =>
                        {
                            step.Accumulate();
                            dynamics.RecordGradientNorms(step.Ids, step.GradientNorms());
                        }
                    );
                    break;
                case FirstOrder or SecondOrder:
                    Step(
                        batch,
                        _validation,
                        step =>
                        {
                            step.Accumulate();
                            values.Add(step, _hookedOptimizer);
                        }
                    );
                    break;
                case Selection:
                    Step(batch, _validation, step => step.Accumulate(selection.Choose(step, _hookedOptimizer)));
                    break;
                default:
                    throw new BenchmarkException($"There is no step '{name}'.");
            }
        }
    }

    /// <summary>As users write it.</summary>
    private void PlainStep(ExampleBatch batch, TrainingDynamics? dynamics)
    {
        _optimizer.zero_grad();
        var logits = _workload.Model.call(batch["x"]); // [B, ..., C]
        dynamics?.Record(batch.Ids, logits, batch["y"]);
        F.cross_entropy(logits.reshape(-1, logits.shape[^1]), batch["y"].reshape(-1)).backward();
        _optimizer.step();
    }

    private void Step(ExampleBatch batch, ExampleBatch? validation, Action<TrainingStep> use)
    {
        _hookedOptimizer.zero_grad();
        using var step = _loop.Step(batch, validation);
        use(step);
        _hookedOptimizer.step();
    }

    /// <summary>The plain step's loss, example by example, <c>[B]</c>: the mean over positions.</summary>
    private static Tensor LossesOf(Tensor logits, Tensor y)
    {
        var losses = F.cross_entropy(logits.reshape(-1, logits.shape[^1]), y.reshape(-1), reduction: nn.Reduction.None); // [B T]
        return y.dim() == 1 ? losses : losses.reshape(y.shape).mean([1L]);
    }

    private static ExampleBatch BatchOf((Tensor X, Tensor Y) data, long start, long count, long firstId) =>
        ExampleBatch.Of(
            [.. Enumerable.Range(0, (int)count).Select(i => firstId + i)],
            ("x", data.X.narrow(0, start, count)),
            ("y", data.Y.narrow(0, start, count))
        );
}
