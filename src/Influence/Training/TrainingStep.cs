using Influence.Gradients;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// One batch of a training loop after its forward and backward pass: the batch's gradient, and what is known of each example.
/// </summary>
/// <remarks>
/// All values are at the weights of the pass; ask for them before or after the optimizer's step. The tensors that this gives
/// are its own and go with it: <c>clone()</c> what is to stay.
/// </remarks>
public sealed partial class TrainingStep : IDisposable
{
    private readonly TrainingGradients _loop;
    private readonly CapturedPass _pass;
    private readonly CapturedPass? _validationPass;
    private readonly RowGradients _rows;
    private readonly RowGradients? _validation;
    private readonly DisposableTensors _made = new();
    private readonly long _count;
    private readonly bool _mixes;
    private Tensor?[] _results = new Tensor?[4];
    private bool _disposed;

    /// <summary>Makes a step of a pass over the batch, with the validation examples behind it in the same pass or in one of their
    /// own.</summary>
    internal TrainingStep(
        TrainingGradients loop,
        CapturedPass pass,
        int count,
        bool mixes,
        CapturedPass? validation,
        ExampleBatch? validationBatch
    )
    {
        ValidationBatch = validationBatch;
        (_loop, _pass, _count, _mixes, _validationPass) = (loop, pass, count, mixes, validation);
        var (session, budget) = (loop.Session, loop.MemoryBudget);
        var joined = pass.Count - count;
        _rows = new RowGradients(session, count, pass.Calls, 0, budget);
        _validation =
            validation is not null ? new RowGradients(session, validation.Count, validation.Calls, 0, budget)
            : joined > 0 ? new RowGradients(session, joined, pass.Calls, count, budget)
            : null;
        Ids = [.. pass.Ids.Take(count)];
        Losses = _made.Own(pass.Losses.narrow(0, 0, count));
        ValidationLosses = validation?.Losses ?? (joined > 0 ? _made.Own(pass.Losses.narrow(0, count, joined)) : null);
        Weights = new double[count];
    }

    /// <summary>The examples' ids, in the order of the batch.</summary>
    public IReadOnlyList<long> Ids { get; }

    /// <summary>The training losses, <c>[B]</c>, without a graph.</summary>
    public Tensor Losses { get; }

    /// <summary>The validation examples' measurements, <c>[V]</c>, without a graph; null without a validation batch.</summary>
    public Tensor? ValidationLosses { get; }

    /// <summary>The weight with which each example's gradient was added to <c>.grad</c> so far; 1/B each after one
    /// <c>Accumulate()</c>.</summary>
    public IReadOnlyList<double> AccumulatedWeights => Weights;

    internal double[] Weights { get; }

    /// <summary>The validation examples, as they were given; their tensors are the caller's.</summary>
    internal ExampleBatch? ValidationBatch { get; }

    internal TrainingGradients Loop => _loop;

    /// <summary>||g_i||, the L2 norm of each example's own gradient, <c>[B]</c>, over the parameters with a layer rule.</summary>
    /// <exception cref="InfluenceException">No parameter has a layer rule (<see cref="TrainingGradients.Coverage"/>).</exception>
    /// <exception cref="ObjectDisposedException">This is disposed.</exception>
    public Tensor GradientNorms() =>
        Result(
            0,
            () =>
            {
                var squares = _rows.SquaredNorms();
                return squares.isfinite().all().item<bool>()
                    ? squares.clamp_min(Kept(0)).sqrt_()
                    : _rows.PreciseSquaredNorms().sqrt_().to_type(squares.dtype);
            }
        );

    /// <summary>
    /// g_val . g_i, <c>[B]</c>: the product of the mean validation gradient with each example's gradient. Positive: a step along
    /// the example's negative gradient lowers the validation measurement.
    /// </summary>
    /// <exception cref="InfluenceException">The step has no validation batch, or no parameter has a layer rule.</exception>
    /// <exception cref="ObjectDisposedException">This is disposed.</exception>
    public Tensor ValidationProducts() => Result(1, () => _rows.ProductsWithMean(Validation()));

    /// <summary>g_i . g_j, <c>[B, B]</c>.</summary>
    /// <exception cref="InfluenceException">No parameter has a layer rule.</exception>
    /// <exception cref="ObjectDisposedException">This is disposed.</exception>
    public Tensor Gram() => Result(2, () => _rows.Gram());

    /// <summary>Frees the batch's activations and everything that this gave.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        _results = [];
        _made.Dispose();
        _rows.Dispose();
        _validation?.Dispose();
        _pass.Dispose();
        _validationPass?.Dispose();
    }

    /// <summary>v . g_i, <c>[B]</c>, in the current scope.</summary>
    /// <param name="direction">v, by block one part a parameter, <c>[P_k]</c>.</param>
    internal Tensor ProductsWith(IReadOnlyList<Tensor[]?> direction)
    {
        CheckOpen();
        return _rows.ProductsWith(direction);
    }

    /// <summary>sum over parts p of scale_p g_i,p . g_j,p, <c>[B, B]</c>, in the current scope.</summary>
    /// <param name="scales">By block, one number a part.</param>
    internal Tensor ScaledGram(IReadOnlyList<double[]> scales)
    {
        CheckOpen();
        CheckHasRules();
        return _rows.Gram(scales);
    }

    /// <summary>The mean validation gradient, by block one part a parameter, <c>[P_k]</c>, in the current scope.</summary>
    internal Tensor[]?[] ValidationGradient()
    {
        CheckOpen();
        var sums = Validation().Sum();
        foreach (var part in sums.OfType<Tensor[]>().SelectMany(parts => parts))
        {
            part.div_(Kept(Validation().Count));
        }

        return sums;
    }

    /// <summary>Whether the model mixed the examples in the pass that trains.</summary>
    internal bool Mixes => _mixes;

    /// <summary>Refuses per-example values of nothing, which would be zeros.</summary>
    internal void CheckHasRules()
    {
        if (_loop.Coverage.ByRule == 0)
        {
            throw new InfluenceException(
                "None of the model's parameters has a layer rule, so nothing is known of single examples; training itself is exact. "
                    + "TrainingGradients.Coverage says why, parameter by parameter."
            );
        }
    }

    private RowGradients Validation() =>
        _validation ?? throw new InfluenceException("The step has no validation batch: write loop.Step(batch, validation).");

    private Tensor Result(int slot, Func<Tensor> make)
    {
        CheckOpen();
        CheckHasRules();
        if (_results[slot] is null)
        {
            using var scope = NewDisposeScope();
            _results[slot] = _made.Own(make());
        }

        return _results[slot]!;
    }

    private void CheckOpen()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_loop.IsDisposed)
        {
            throw new InfluenceException("The TrainingGradients that made this step is disposed; use its steps before.");
        }
    }
}
