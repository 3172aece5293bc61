using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// One batch of a training loop after its forward and backward pass: the batch's gradient, and what is known of each example.
/// </summary>
/// <remarks>
/// All values are at the weights of the pass; ask for them before or after the optimizer's step. The tensors that this gives
/// are its own and go with it: <c>clone()</c> what is to stay.
/// </remarks>
public sealed class TrainingStep : IDisposable
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
    private Tensor[]?[]? _accumulated;
    private bool _disposed;

    /// <summary>Makes a step of a pass over the batch, with the validation examples behind it in the same pass or in one of their own.</summary>
    internal TrainingStep(
        TrainingGradients loop, CapturedPass pass, int count, bool mixes, CapturedPass? validation, ExampleBatch? validationBatch)
    {
        ValidationBatch = validationBatch;
        (_loop, _pass, _count, _mixes, _validationPass) = (loop, pass, count, mixes, validation);
        var (session, budget) = (loop.Session, loop.MemoryBudget);
        var joined = pass.Count - count;
        _rows = new RowGradients(session, count, pass.Calls, 0, budget);
        _validation = validation is not null ? new RowGradients(session, validation.Count, validation.Calls, 0, budget)
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

    /// <summary>The weight with which each example's gradient was added to <c>.grad</c> so far; 1/B each after one <c>Accumulate()</c>.</summary>
    public IReadOnlyList<double> AccumulatedWeights => Weights;

    internal double[] Weights { get; }

    /// <summary>The validation examples, as they were given; their tensors are the caller's.</summary>
    internal ExampleBatch? ValidationBatch { get; }

    internal TrainingGradients Loop => _loop;

    /// <summary>
    /// Adds the gradient of scale times the mean of the losses to each parameter's <c>.grad</c>, as <c>(scale * loss.mean()).backward()</c> does.
    /// </summary>
    /// <param name="scale">1/n where n batches are accumulated before the optimizer's step.</param>
    /// <exception cref="InfluenceException">The scale is not finite, or the loop was disposed.</exception>
    /// <exception cref="ObjectDisposedException">This is disposed.</exception>
    public void Accumulate(double scale = 1)
    {
        CheckOpen();
        if (!double.IsFinite(scale))
        {
            throw new InfluenceException($"The scale is {scale}; a finite number is expected: 1, or 1/n for n accumulated batches.");
        }

        AddUniform(scale / _count);
    }

    /// <summary>
    /// Adds the gradient of sum over i of w_i l_i to each parameter's <c>.grad</c>, as <c>(weights * losses).sum().backward()</c>
    /// does with weights that are constants. Weights of 1/B give the mean; examples of weight 0 cost nothing.
    /// </summary>
    /// <remarks>
    /// Parameters without a layer rule, and modules that mix the examples of a batch (BatchNorm in training mode), need a second
    /// backward pass here: do it before the optimizer's step.
    /// </remarks>
    /// <param name="weights">w, <c>[B]</c>, of a floating-point type.</param>
    /// <exception cref="InfluenceException">The weights are not <c>[B]</c> or not finite, the loop was disposed, or the parameters have changed since the pass where a second backward pass is needed.</exception>
    /// <exception cref="ObjectDisposedException">This is disposed.</exception>
    public void Accumulate(Tensor weights)
    {
        ArgumentNullException.ThrowIfNull(weights);
        CheckOpen();
        if (weights.dim() != 1 || !weights.is_floating_point())
        {
            throw new InfluenceException(
                $"One weight for each example is expected, a floating-point tensor [{_count}]; found {weights.dtype} [{string.Join(", ", weights.shape)}].");
        }

        using var scope = NewDisposeScope();
        AddWeighted(weights.detach().cpu().to_type(ScalarType.Float64).data<double>().ToArray());
    }

    /// <summary>Adds the mean gradient of the chosen examples; the others cost nothing more.</summary>
    /// <param name="choice">What <see cref="OnlineSelection.Choose(TrainingStep, double)"/> chose of this step.</param>
    /// <exception cref="InfluenceException">It was chosen of a batch of another size, or as with weights.</exception>
    /// <exception cref="ObjectDisposedException">This is disposed.</exception>
    public void Accumulate(OnlineChoice choice)
    {
        ArgumentNullException.ThrowIfNull(choice);
        CheckOpen();
        AddWeighted([.. choice.Weights]);
    }

    /// <summary>||g_i||, the L2 norm of each example's own gradient, <c>[B]</c>, over the parameters with a layer rule.</summary>
    /// <exception cref="InfluenceException">No parameter has a layer rule (<see cref="TrainingGradients.Coverage"/>).</exception>
    /// <exception cref="ObjectDisposedException">This is disposed.</exception>
    public Tensor GradientNorms() => Result(0, () => _rows.SquaredNorms().clamp_min(0).sqrt_());

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
    public Tensor Gram() => Result(2, _rows.Gram);

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

    /// <summary>The mean validation gradient, by block one part a parameter, <c>[P_k]</c>, in the current scope.</summary>
    internal Tensor[]?[] ValidationGradient()
    {
        CheckOpen();
        var sums = Validation().Sum();
        foreach (var part in sums.OfType<Tensor[]>().SelectMany(parts => parts))
        {
            part.div_(Validation().Count);
        }

        return sums;
    }

    /// <summary>sum over i of w_i g_i with the weights accumulated so far, by block one part a parameter, <c>[P_k]</c>, in the current scope.</summary>
    internal Tensor[]?[] AccumulatedGradient()
    {
        CheckOpen();
        if (_accumulated is not null)
        {
            // Rows that hold parts of other examples' losses do not sum to this.
            return [.. _accumulated.Select(parts => parts?.Select(part => part.clone()).ToArray())];
        }

        using var weights = tensor(Weights, dtype: _loop.Session.Dtype, device: _loop.Session.Device);  // [B]
        return _rows.Sum(weights);
    }

    /// <summary>Whether the model mixed the examples in the pass that trains.</summary>
    internal bool Mixes => _mixes;

    /// <summary>Refuses per-example values of nothing, which would be zeros.</summary>
    internal void CheckHasRules()
    {
        if (_loop.Coverage.ByRule == 0)
        {
            throw new InfluenceException(
                "None of the model's parameters has a layer rule, so nothing is known of single examples; training itself is exact. TrainingGradients.Coverage says why, parameter by parameter.");
        }
    }

    private RowGradients Validation() => _validation ?? throw new InfluenceException(
        "The step has no validation batch: write loop.Step(batch, validation).");

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

    private void AddWeighted(double[] weights)
    {
        CheckWeights(weights);
        if (_mixes && Array.TrueForAll(weights, w => w == weights[0]))
        {
            AddUniform(weights[0]);
            return;
        }

        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var calls = Reweighted(weights);
        if (_mixes)
        {
            // A row of the first pass is no example's own, so weighting rows would be another gradient.
            using var rows = new RowGradients(_loop.Session, (int)_count, calls, 0, _loop.MemoryBudget);
            Add(rows.Sum(), 1);
        }
        else
        {
            Add(_rows.Sum(tensor(weights, dtype: _loop.Session.Dtype, device: _loop.Session.Device)), 1);
        }

        for (var i = 0; i < weights.Length; i++)
        {
            Weights[i] += weights[i];
        }
    }

    /// <summary>Adds the same weight of every example, which is exact whatever the rows hold.</summary>
    private void AddUniform(double weight)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        Add(_rows.Sum(), weight);
        for (var k = 0; k < _pass.Plain.Count; k++)
        {
            if (_pass.Plain[k] is { } gradient)
            {
                Add(_loop.Session.Plain[k], gradient, weight);
            }
        }

        for (var i = 0; i < Weights.Length; i++)
        {
            Weights[i] += weight;
        }
    }

    private void CheckWeights(double[] weights)
    {
        if (weights.Length != _count)
        {
            throw new InfluenceException($"One weight for each of the batch's {_count} examples is expected; found {weights.Length}.");
        }

        long[] bad = [.. Ids.Where((_, i) => !double.IsFinite(weights[i]))];
        if (bad.Length > 0)
        {
            throw new InfluenceException(
                $"The weights of the examples with ids {InfluenceException.List(bad)} are NaN or infinite; finite numbers are expected.")
            {
                ExampleIds = bad,
            };
        }
    }

    private void Add(Tensor[]?[] sums, double scale)
    {
        var blocks = _loop.Session.Blocks;
        for (var k = 0; k < blocks.Count; k++)
        {
            for (var p = 0; p < blocks[k].Parts.Count; p++)
            {
                if (sums[k] is { } parts)
                {
                    Add(blocks[k].Parts[p].Parameter, parts[p], scale);
                }
            }
        }

        if (_mixes)
        {
            Remember(sums, scale);
        }
    }

    private void Remember(Tensor[]?[] sums, double scale)
    {
        _accumulated ??= new Tensor[sums.Length][];
        for (var k = 0; k < sums.Length; k++)
        {
            if (sums[k] is { } parts)
            {
                _accumulated[k] = _accumulated[k] is { } before
                    ? [.. before.Zip(parts, (total, part) => total.add_(part, alpha: scale))]
                    : [.. parts.Select(part => _made.Own(part * scale))];
            }
        }
    }

    private static void Add(ModelParameter parameter, Tensor gradient, double scale)
    {
        var value = parameter.Value;
        if (value.grad is { } present)
        {
            present.add_(gradient.reshape(value.shape), alpha: scale);
        }
        else
        {
            value.grad = gradient.reshape(value.shape) * scale;
        }
    }

    /// <summary>The second backward pass, where parameters without a rule or a mixing module need one: their share goes to <c>.grad</c>.</summary>
    private Dictionary<TrackedLayer, List<LayerCall>> Reweighted(double[] weights)
    {
        try
        {
            var w = tensor(weights, dtype: _pass.Losses.dtype, device: _pass.Losses.device);    // [B]
            return _loop.Session.Reweighted(_pass, w);
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            throw new InfluenceException(
                $"The batch could not be differentiated again: {exception.Message.Split('\n')[0].TrimEnd('.')}. Call Accumulate(weights) before the optimizer's step.", exception);
        }
    }
}
