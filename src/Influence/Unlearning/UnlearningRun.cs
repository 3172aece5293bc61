using Influence.Curvature;
using Influence.Gradients;
using Influence.Groups;
using Influence.Numerics;
using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Unlearning;

/// <summary>One call on a model: its weights move about meanwhile, and are put back when this is disposed, as gradients are.</summary>
internal sealed class UnlearningRun : IDisposable
{
    private readonly KeptState _kept;
    private readonly IReadOnlySet<long> _forgetIds;
    private readonly IReadOnlySet<long> _keepIds;

    public UnlearningRun(InfluenceTask task, Examples train, IReadOnlySet<long> forget, IReadOnlySet<long> keep, ProgressReporter reporter)
    {
        (Task, Train, Reporter, _forgetIds, _keepIds) = (task, train, reporter, forget, keep);
        Forget = train.Only(forget);
        Keep = train.Only(keep);
        All = forget.Count + keep.Count == train.Count ? train : train.Only(forget.Concat(keep));
        _kept = new KeptState(task.Model);
        try
        {
            using var session = GradientSession.Open(task, All, queries: null);
            (Layout, Losses) = (new ParameterVector(session), session.Losses);
            Names = session.BlockNames;

            // A copy: of a single parameter Gather gives the parameter itself.
            Start = Layout.Gather(Layout.Values().Select(value => value.detach())).clone(); // [P]
        }
        catch
        {
            _kept.Dispose();
            throw;
        }
    }

    public InfluenceTask Task { get; }

    public Examples Train { get; }

    public Examples Forget { get; }

    public Examples Keep { get; }

    /// <summary>Those to forget and those to keep.</summary>
    public Examples All { get; }

    public ProgressReporter Reporter { get; }

    public LossEvaluator Losses { get; }

    /// <summary>The parameters that move.</summary>
    public ParameterVector Layout { get; }

    /// <summary>The names of the blocks of <see cref="ParameterVector.BlockRanges"/>.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The parameters' values in the beginning, <c>[P]</c>.</summary>
    public Tensor Start { get; }

    public List<string> Notes { get; } = [];

    /// <summary>Runs with a session open; the model has its first weights.</summary>
    public T InSession<T>(Func<GradientSession, ParameterVector, T> use)
    {
        _kept.Restore();
        using var session = GradientSession.Open(Task, All, queries: null);
        return use(session, new ParameterVector(session));
    }

    /// <summary>The mean gradients over the examples to forget and over those to keep, <c>[P]</c> each, in the current scope.</summary>
    public (Tensor Forget, Tensor Keep) MeanGradients() =>
        InSession((session, layout) => (Mean(session, layout, Forget), Mean(session, layout, Keep)));

    /// <summary>The mean gradient over the examples to forget, <c>[P]</c>, in the current scope.</summary>
    public Tensor ForgetGradient() => InSession((session, layout) => Mean(session, layout, Forget));

    /// <summary>The mean training loss at the present weights; infinity where one is no number, unless that is refused.</summary>
    public double MeanLoss(Examples examples, bool finite = false)
    {
        var sum = 0.0;
        foreach (var batch in examples.Batches())
        {
            using var scope = NewDisposeScope();
            sum += Losses.Evaluate(batch, LossKind.Training, finite).to_type(ScalarType.Float64).sum().cpu().item<double>();
            Reporter.AddOrCancel(batch.Count);
        }

        return double.IsFinite(sum) ? sum / examples.Count : double.PositiveInfinity;
    }

    /// <summary>Moves the parameters to where they began and a vector <c>[P]</c> further.</summary>
    public void MoveTo(Tensor step)
    {
        if (FiniteProducts.AnyNotFinite(step))
        {
            throw new InfluenceException(
                $"The step holds NaN or numbers too large for {Layout.Dtype}, though the losses are finite. "
                    + "Write more damping or a lower learning rate, or use a float64 model."
            );
        }

        _kept.Restore();
        using var scope = NewDisposeScope();
        Layout.Move(Layout.Values(), step);
    }

    /// <summary>How far the parameters are from where they began.</summary>
    public double StepNorm()
    {
        using var scope = NewDisposeScope();
        var moved = Layout.Gather(Layout.Values().Select(value => value.detach())) - Start; // [P]
        return moved.Norm();
    }

    /// <summary>Batches without end of the examples to forget, passes in orders of their own that follow from the seed.</summary>
    public IEnumerable<ExampleBatch> ForgetBatches(int size, long seed) => Drawn(_forgetIds, size, seed, "examples to forget");

    /// <summary>Batches without end of the examples to keep.</summary>
    public IEnumerable<ExampleBatch> KeepBatches(int size, long seed) => Drawn(_keepIds, size, seed, "examples to keep");

    /// <summary>
    /// Descends along gradients by an optimizer, moving only what a mask lets move: what an optimizer does to the other elements (momentum,
    /// weight decay) is undone after each step.
    /// </summary>
    /// <param name="optimizer">Makes the optimizer; null: SGD with the rate.</param>
    /// <param name="rate">The learning rate of the default.</param>
    /// <param name="mask"><c>[P]</c>, truth values; null: all may move.</param>
    /// <param name="steps">The number of steps.</param>
    /// <param name="loss">From a step's number to the loss, one number, and how many examples were in it; null ends.</param>
    /// <returns>The loss of the last step; NaN where there was none.</returns>
    public double Descend(
        Func<nn.Module, optim.Optimizer>? optimizer,
        double rate,
        Tensor? mask,
        int steps,
        Func<int, (Tensor Loss, int Examples)?> loss
    )
    {
        if (optimizer is not null)
        {
            ProbeStep.Check(Task.Model, optimizer);
        }

        using var whole = NewDisposeScope();
        var values = Layout.Values();
        using var made = optimizer?.Invoke(Task.Model) ?? optim.SGD(values, rate);
        var frozen = mask is null ? null : mask.logical_not(); // [P]
        var open = mask is null ? null : Layout.Spread(values, mask.to_type(Layout.Dtype));
        var last = double.NaN;
        for (var step = 0; step < steps; step++)
        {
            Reporter.Token.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            using var grad = enable_grad();
            _kept.ClearGradients();
            if (loss(step) is not { } found)
            {
                break;
            }

            last = found.Loss.detach().to_type(ScalarType.Float64).cpu().item<double>();
            if (!double.IsFinite(last))
            {
                throw new InfluenceException(
                    $"The loss is NaN or infinite at step {step + 1} of {steps}: unlearning has diverged. Write "
                        + "a lower learning rate or fewer steps; the model is as before."
                );
            }

            GuardedBackward.Accumulate(found.Loss, values);
            using var noGrad = no_grad();
            if (open is not null)
            {
                Mask(values, open);
            }

            made.step();
            if (frozen is not null)
            {
                Undo(values, frozen);
            }

            Reporter.Add(found.Examples);
        }

        GC.KeepAlive(values);
        return last;
    }

    public void Dispose() => _kept.Dispose();

    private Tensor Mean(GradientSession session, ParameterVector layout, Examples examples)
    {
        using var scope = NewDisposeScope();
        using var total = new GradientTotal(session, layout, LossKind.Training);
        foreach (var batch in examples.Batches())
        {
            total.Add(batch);
            Reporter.AddOrCancel(batch.Count);
        }

        var mean = total.Take() / Kept(examples.Count); // [P]
        return FiniteProducts.AnyNotFinite(mean)
            ? throw new InfluenceException(
                $"The summed gradient is NaN or too large for {layout.Dtype}, though the losses are finite. "
                    + "Look at the inputs, or use a float64 model."
            )
            : mean.MoveToOuterDisposeScope();
    }

    private static void Mask(Parameter[] values, Tensor[] open)
    {
        using var scope = NewDisposeScope();
        for (var k = 0; k < values.Length; k++)
        {
            if (values[k].grad is { } gradient)
            {
                gradient.mul_(open[k]);
            }
        }
    }

    private void Undo(Parameter[] values, Tensor frozen)
    {
        var now = Layout.Gather(values.Select(value => value.detach())); // [P]
        var kept = where(frozen, Start - now, zeros_like(now)); // [P]
        Layout.Move(values, kept);
    }

    private IEnumerable<ExampleBatch> Drawn(IReadOnlySet<long> ids, int size, long seed, string purpose)
    {
        if (!Train.IsIndexable)
        {
            for (; ; )
            {
                foreach (var batch in Train.Only(ids).Batches())
                {
                    yield return batch;
                }
            }
        }

        int[] positions = [.. Enumerable.Range(0, Train.Count).Where(i => ids.Contains(Train.Ids[i]))];
        var take = Math.Min(size, positions.Length);
        for (var pass = 0L; ; pass++)
        {
            int[] order = [.. new KeyedRandom(seed, purpose, pass).Order(positions.Length).Select(i => positions[i])];
            for (var start = 0; start + take <= order.Length; start += take)
            {
                int[] chosen = [.. order.AsSpan(start, take)];
                Array.Sort(chosen);
                foreach (var batch in Train.Gathered(chosen))
                {
                    yield return batch;
                }
            }
        }
    }
}
