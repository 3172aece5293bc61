using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>What a run is between two steps: the weights and the optimizer's moments, flat, <c>[P]</c>.</summary>
internal sealed record RunState(Tensor Weights, Tensor First, Tensor Second) : IDisposable
{
    public void Dispose()
    {
        Weights.Dispose();
        First.Dispose();
        Second.Dispose();
    }

    public RunState To(Device device) => new(Weights.to(device), First.to(device), Second.to(device));

    /// <summary>Whether weights and moments are number by number those of the other.</summary>
    public bool IsSame(RunState other) => Weights.Equals(other.Weights) && First.Equals(other.First) && Second.Equals(other.Second);

    /// <summary>A copy on the processor.</summary>
    public RunState Copy() => new(Weights.cpu().clone(), First.cpu().clone(), Second.cpu().clone());

    /// <summary>The same, handed to the outer dispose scope.</summary>
    public RunState MoveToOuterDisposeScope() =>
        new(Weights.MoveToOuterDisposeScope(), First.MoveToOuterDisposeScope(), Second.MoveToOuterDisposeScope());
}

/// <summary>A step's gradient as it came (<c>[P]</c>), and what clipping left of it.</summary>
internal sealed record StepGradient(Tensor Raw, double Factor, double Norm)
{
    public StepGradient To(Device device) => this with { Raw = Raw.to(device) };
}

/// <summary>Does a run's steps on a model, whose weights it changes and the caller puts back.</summary>
internal sealed class TrainingReplay
{
    private readonly Magic _run;
    private readonly Examples _train;
    private readonly LossEvaluator _losses;
    private readonly List<ModelParameter> _parameters;
    private readonly Dictionary<long, int> _positions;
    private readonly Func<ExampleBatch, Tensor>? _tokenLosses;

    public TrainingReplay(Magic run, InfluenceTask task, Examples train, Func<ExampleBatch, Tensor>? tokenLosses = null)
    {
        (_run, _train, _tokenLosses) = (run, train, tokenLosses);
        _parameters = ModelParameter.Find(task.Model);
        ModelChecks.Run(task.Model, _parameters);
        using (NewDisposeScope())
        {
            (Dtype, Device) = (_parameters[0].Value.dtype, _parameters[0].Value.device);
        }

        _losses = new LossEvaluator(task, Dtype, Device);
        _positions = train.Ids.Select((id, i) => (id, i)).ToDictionary(p => p.id, p => p.i);
        CheckKnown(run.Batches);
    }

    /// <summary>Refuses ids that are not among the training examples.</summary>
    public void CheckKnown(IEnumerable<IReadOnlyList<long>> batches)
    {
        var unknown = batches.SelectMany(b => b).Where(id => !_positions.ContainsKey(id)).Distinct().ToList();
        if (unknown.Count > 0)
        {
            throw new InfluenceException(
                "Batches name examples that are not among the training examples: ids "
                    + $"{InfluenceException.List(unknown)}. Give every example that the run saw."
            );
        }
    }

    /// <summary>Whether losses are noted token by token.</summary>
    public bool ByToken => _tokenLosses is not null;

    public ScalarType Dtype { get; }

    public Device Device { get; }

    /// <summary>The state before the first step: the model's weights, moments of zero.</summary>
    public RunState Start()
    {
        using var noGrad = no_grad();
        var weights = cat([.. _parameters.Select(p => p.Value.detach().reshape(-1))], 0);
        return new RunState(weights, zeros_like(weights), zeros_like(weights));
    }

    /// <summary>The gradient of each query's measurement at some weights, <c>[Q, P]</c>.</summary>
    public Tensor QueryGradients(Tensor weights, Examples queries)
    {
        Write(weights);
        var rows = new List<Tensor>();
        foreach (var batch in queries.Batches())
        {
            for (var i = 0; i < batch.Count; i++)
            {
                using var scope = NewDisposeScope();
                var one = batch.Pick([i]);
                rows.Add(Flat(_losses.Evaluate(one, LossKind.Measurement).sum(), one.Ids).MoveToOuterDisposeScope());
            }
        }

        return stack([.. rows], 0);
    }

    /// <summary>Refuses token losses that do not sum to the training loss in the first batch.</summary>
    public void CheckTokenLosses()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        foreach (var part in Parts(_run.Batches[0]))
        {
            TokenLosses.CheckSums(TokenLosses.Evaluate(_tokenLosses!, part), _losses.Evaluate(part, LossKind.Training), Dtype);
        }
    }

    /// <summary>The losses of a batch's examples at some weights, by id: one, or one a token.</summary>
    public Dictionary<long, double[]> Losses(IReadOnlyList<long> ids, Tensor weights)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        Write(weights);
        var losses = new Dictionary<long, double[]>();
        foreach (var part in Parts(ids))
        {
            using var inner = NewDisposeScope();
            Evaluate(part, losses);
        }

        return losses;
    }

    /// <summary>The gradient of a batch's loss at some weights, <c>[P]</c>, and the losses of its examples by id.</summary>
    /// <param name="ids">Of the batch.</param>
    /// <param name="weights">Of the model.</param>
    /// <param name="share">What each example's loss counts beside the mean or the sum; null: 1.</param>
    /// <param name="losses">Takes the losses, one for each example or one for each of its tokens; null: not wanted.</param>
    public Tensor Gradient(
        IReadOnlyList<long> ids,
        Tensor weights,
        Func<long, double>? share = null,
        Dictionary<long, double[]>? losses = null
    )
    {
        using var scope = NewDisposeScope();
        Write(weights);
        var total = zeros_like(weights);
        foreach (var part in Parts(ids))
        {
            using var inner = NewDisposeScope();
            var each = Evaluate(part, losses); // [B]
            var counted = share is null ? each.sum() : (each * tensor(part.Ids.Select(share).ToArray(), Dtype, Device)).sum();
            total.add_(Flat(_run.SumsLosses ? counted : counted / Kept(ids.Count), part.Ids));
        }

        return total.MoveToOuterDisposeScope();
    }

    /// <summary>The gradient of each example's own loss in a step, <c>[P]</c>, which lives as long as the call it is handed to.</summary>
    public void ForEachGradient(int step, Tensor weights, Action<long, Tensor> use)
    {
        using var scope = NewDisposeScope();
        Write(weights);
        foreach (var part in Parts(_run.Batches[step]))
        {
            for (var i = 0; i < part.Count; i++)
            {
                using var inner = NewDisposeScope();
                var one = part.Pick([i]);
                use(one.Ids[0], Flat(_losses.Evaluate(one, LossKind.Training).sum(), one.Ids));
            }
        }
    }

    /// <summary>What clipping does to a gradient.</summary>
    public StepGradient Clipped(Tensor raw)
    {
        var norm = raw.norm().to_type(ScalarType.Float64).item<double>();
        if (!double.IsFinite(norm))
        {
            throw new InfluenceException(
                "The replayed run diverged: a gradient is NaN or infinite. Check that LearningRates, Update and "
                    + "Batches are those of the run."
            );
        }

        return new StepGradient(raw, _run.ClipNorm is { } most && norm > most ? most / norm : 1, norm);
    }

    /// <summary>What the optimizer makes of a step's gradient.</summary>
    public RunState After(RunState before, int step, StepGradient gradient)
    {
        using var noGrad = no_grad();
        var (g, rate) = (gradient.Raw * Kept(gradient.Factor), _run.RateOf(step));
        if (_run.Update is Magic.AdamW adam)
        {
            var n = step + 1;
            var first = (Kept(adam.Beta1) * before.First) + (Kept(1 - adam.Beta1) * g);
            var second = (Kept(adam.Beta2) * before.Second) + (Kept(1 - adam.Beta2) * g * g);
            var root = (second / Kept(1 - Math.Pow(adam.Beta2, n))).sqrt() + Kept(adam.Epsilon);
            return new RunState(
                (before.Weights * Kept(1 - (rate * adam.WeightDecay))) - (Kept(rate / (1 - Math.Pow(adam.Beta1, n))) * first / root),
                first,
                second
            );
        }

        var sgd = (Magic.Sgd)_run.Update;
        var velocity = (Kept(sgd.Momentum) * before.First) + g + (Kept(sgd.WeightDecay) * before.Weights);
        return new RunState(before.Weights - (Kept(rate) * velocity), velocity, before.Second.clone());
    }

    /// <summary>A step's gradient and the state after it.</summary>
    public (StepGradient Gradient, RunState After) Step(RunState before, int step, Func<long, double>? share = null)
    {
        using var scope = NewDisposeScope();
        var gradient = Clipped(Gradient(_run.Batches[step], before.Weights, share));
        var after = After(before, step, gradient);
        return (gradient with { Raw = gradient.Raw.MoveToOuterDisposeScope() }, after.MoveToOuterDisposeScope());
    }

    /// <summary>The losses of a batch, <c>[B]</c>; they, or those of the tokens, are noted where that is wanted.</summary>
    private Tensor Evaluate(ExampleBatch part, Dictionary<long, double[]>? losses)
    {
        var tokens = losses is not null && _tokenLosses is not null ? TokenLosses.Evaluate(_tokenLosses, part) : null; // [B, T]
        var each = tokens?.sum(1) ?? _losses.Evaluate(part, LossKind.Training); // [B]
        if (losses is not null)
        {
            var values = LayerHooks.Values((tokens ?? each).reshape(-1));
            var width = values.Length / part.Count;
            for (var i = 0; i < part.Count; i++)
            {
                losses[part.Ids[i]] = values[(i * width)..((i + 1) * width)];
            }
        }

        return each;
    }

    private void Write(Tensor weights)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var start = 0L;
        foreach (var parameter in _parameters)
        {
            parameter.Value.copy_(weights.narrow(0, start, parameter.Value.numel()).reshape(parameter.Value.shape));
            start += parameter.Value.numel();
        }
    }

    private Tensor Flat(Tensor total, IReadOnlyList<long> ids)
    {
        Tensor[] inputs = [.. _parameters.Select(p => (Tensor)p.Value)];
        var gradients = GuardedBackward.Gradients([total], inputs, ids: ids);
        return cat([.. gradients.Select((g, i) => (g.Strided() ?? zeros_like(inputs[i])).detach().reshape(-1))], 0);
    }

    private IEnumerable<ExampleBatch> Parts(IReadOnlyList<long> ids)
    {
        if (!_train.IsIndexable)
        {
            foreach (var batch in _train.Only(ids).Batches())
            {
                yield return batch;
            }

            yield break;
        }

        int[] positions = [.. ids.Select(id => _positions[id]).Order()];
        var whole = _train.Gather(positions);
        try
        {
            yield return whole;
        }
        finally
        {
            whole.Free();
        }
    }
}
