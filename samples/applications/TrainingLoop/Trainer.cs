using System.Diagnostics;
using Influence;
using Influence.Groups;
using Influence.Mixtures;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace TrainingLoop;

/// <summary>
/// One run. The learning rate rises over the first steps and then stays: every point of the curve is one at which one could
/// have stopped, so runs can be compared at equal examples and at equal time.
/// </summary>
internal sealed class Trainer : IDisposable
{
    private const double WarmUpShare = 0.05;
    private const int Judgements = 8;
    private const int MixtureUpdates = 20;

    private readonly NoisyJob _job;
    private readonly Method _method;
    private readonly int _seed;
    private readonly nn.Module<Tensor, Tensor> _model;
    private readonly optim.Optimizer _optimizer;
    private readonly TrainingGradients? _loop;
    private readonly TrainingDynamics _dynamics = new();
    private readonly InRunValues _values = new();
    private readonly Mixture.Sampler? _sampler;
    private readonly RowStream _rows;
    private readonly RowStream _validationRows;
    private readonly double _rate;
    private readonly List<CurvePoint> _curve = [];
    private readonly List<double> _seconds = [];
    private Tensor? _logits;
    private double _noisy;
    private int _step;

    public Trainer(NoisyJob job, Method method, int seed)
    {
        (_job, _method, _seed) = (job, method, seed);
        _rows = new RowStream(job.Train.Count, Randomness.For(seed, "order of the batches"));
        _validationRows = new RowStream(job.Validation.Count, Randomness.For(seed, "order of the validation batches"));
        _model = job.CreateModel(seed);
        _optimizer = job.CreateOptimizer(_model);
        _rate = _optimizer.ParamGroups.First().LearningRate;
        _model.train();
        if (method == Method.Mixed)
        {
            var sources = job.Sources ?? throw new ArgumentException("A mixture needs sources.", nameof(job));
            _sampler = new Mixture.Sampler(sources, Mixture.Uniform(sources.Names), seed)
            {
                EpochLength = Mixture.Sampler.Endless,
                Balanced = true,
            };
        }

        if (method is Method.Recorded or Method.Selected or Method.Mixed)
        {
            var task = new InfluenceTask(_model) { TrainingLoss = LossesOf };
            using var scope = NewDisposeScope();
            _loop = TrainingGradients.Open(task, job.Train.At([0, 1]), job.Validation.At([0, 1], firstId: job.Train.Count));
        }
    }

    /// <summary>One step, and before every eighth of the run a judgement that the clock does not count.</summary>
    public void Step()
    {
        if (_step % (_job.Steps / Judgements) == 0)
        {
            Judge();
        }

        _optimizer.ParamGroups.First().LearningRate = _rate * Math.Min(1, (_step + 1) / (WarmUpShare * _job.Steps));
        var start = Stopwatch.GetTimestamp();
        using (NewDisposeScope())
        {
            _noisy += StepOf(_method);
        }

        _seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        _step++;
    }

    /// <summary>What the run came to, after all its steps.</summary>
    public TrainingRun Result()
    {
        Judge();
        return new TrainingRun(
            _method,
            _seed,
            _curve,
            _seconds,
            _noisy / _step,
            _method == Method.Recorded ? Findings.Of(_dynamics, _values, _job.IsNoisy) : null
        );
    }

    public void Dispose()
    {
        _loop?.Dispose();
        _logits?.Dispose();
        _dynamics.Dispose();
        _optimizer.Dispose();
        _model.Dispose();
    }

    private void Judge()
    {
        var (loss, accuracy) = _job.Judge(_model);
        _curve.Add(new CurvePoint(_step, loss, accuracy));
    }

    /// <returns>The share of noisy examples in what was trained on, by weight.</returns>
    private double StepOf(Method method) =>
        method switch
        {
            Method.Plain => Plain(Batch()),
            Method.Reweighted => Reweighted(Batch()),
            Method.Recorded => Recorded(Batch()),
            Method.Selected => Selected(Batch(2)),
            _ => Mixed(_job.Train.At([.. _sampler!.Take(_job.BatchSize)])),
        };

    private double Plain(ExampleBatch batch)
    {
        _optimizer.zero_grad();
        LossesOf(batch).mean().backward();
        _optimizer.step();
        return NoisyShare(batch.Ids);
    }

    private double Reweighted(ExampleBatch batch)
    {
        _optimizer.zero_grad();
        var losses = LossesOf(batch); // [B]
        var weights = _job.Reweighting.Weights(losses, _step, batch.Ids); // [B]
        (weights * losses).sum().backward();
        _optimizer.step();
        return batch
            .Ids.Zip(weights.to_type(ScalarType.Float64).data<double>().ToArray())
            .Where(pair => _job.IsNoisy[(int)pair.First])
            .Sum(pair => pair.Second);
    }

    private double Recorded(ExampleBatch batch)
    {
        _optimizer.zero_grad();
        using var step = _loop!.Step(batch, Validation());
        step.Accumulate();
        _dynamics.Record(step.Ids, _logits!.narrow(0, 0, batch.Count), batch["target"], NoisyJob.Counted(batch));
        _values.Add(step, _optimizer);
        _optimizer.step();
        return NoisyShare(batch.Ids);
    }

    private double Selected(ExampleBatch candidates)
    {
        _optimizer.zero_grad();
        using var step = _loop!.Step(candidates, Validation());
        var choice = _job.Selection.Choose(step, _optimizer);
        step.Accumulate(choice);
        _optimizer.step();
        return NoisyShare(choice.Ids);
    }

    private double Mixed(ExampleBatch batch)
    {
        _optimizer.zero_grad();
        using var step = _loop!.Step(batch, Validation());
        step.Accumulate();
        _values.Add(step, _optimizer);
        _optimizer.step();
        if ((_step + 1) % (_job.Steps / MixtureUpdates) == 0)
        {
            _sampler!.Mixture = new ValueMixture { LearningRate = 0.3, Floor = 0.02 }.Update(
                _values.MeanScores(),
                _job.Sources!,
                _sampler.Mixture
            );
            _values.Clear();
        }

        return NoisyShare(batch.Ids);
    }

    private ExampleBatch Batch(int times = 1) => _job.Train.At(_rows.Next(times * _job.BatchSize));

    private ExampleBatch Validation() => _job.Validation.At(_validationRows.Next(_job.ValidationSize), firstId: _job.Train.Count);

    private Tensor LossesOf(ExampleBatch batch)
    {
        var logits = _model.call(batch["input"]); // [B, ..., C]
        if (_method == Method.Recorded && batch.Ids[0] < _job.Train.Count)
        {
            // The step runs the model; what the recorder of dynamics needs is kept from there. Validation examples may follow.
            _logits?.Dispose();
            _logits = logits.detach().DetachFromDisposeScope();
        }

        return NoisyJob.Losses(logits, batch);
    }

    private double NoisyShare(IReadOnlyList<long> ids) => ids.Average(id => _job.IsNoisy[(int)id] ? 1.0 : 0.0);
}
