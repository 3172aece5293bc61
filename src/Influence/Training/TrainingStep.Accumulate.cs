using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Training;

/// <content>What goes to the parameters' <c>.grad</c>.</content>
public sealed partial class TrainingStep
{
    private Tensor[]?[]? _accumulated;

    /// <summary>
    /// Adds the gradient of scale times the mean of the losses to each parameter's <c>.grad</c>, as <c>(scale * loss.mean()).backward()</c>
    /// does.
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
    /// <exception cref="InfluenceException">The weights are not <c>[B]</c> or not finite, the loop was disposed, or the parameters have
    /// changed since the pass where a second backward pass is needed.</exception>
    /// <exception cref="ObjectDisposedException">This is disposed.</exception>
    public void Accumulate(Tensor weights)
    {
        ArgumentNullException.ThrowIfNull(weights);
        CheckOpen();
        if (weights.dim() != 1 || !weights.is_floating_point())
        {
            throw new InfluenceException(
                $"One weight for each example is expected, a floating-point tensor [{_count}]; found {weights.dtype} "
                    + $"[{string.Join(", ", weights.shape)}]."
            );
        }

        using var scope = NewDisposeScope();
        AddWeighted(weights.detach().cpu().to_type(ScalarType.Float64).data<double>().ToArray());
    }

    /// <summary>Adds the mean gradient of the chosen examples; the others cost nothing more.</summary>
    /// <param name="choice">What <see cref="OnlineSelection.Choose(TrainingStep, double)"/> chose of this step.</param>
    /// <exception cref="InfluenceException">It was chosen of a batch of another size, or as with weights.</exception>
    /// <exception cref="ObjectDisposedException">This is disposed.</exception>
    public void Accumulate(OnlineSelection.Result choice)
    {
        ArgumentNullException.ThrowIfNull(choice);
        CheckOpen();
        AddWeighted([.. choice.Weights]);
    }

    /// <summary>sum over i of w_i g_i with the weights accumulated so far, by block one part a parameter, <c>[P_k]</c>, in the current
    /// scope.</summary>
    internal Tensor[]?[] AccumulatedGradient()
    {
        CheckOpen();
        if (_accumulated is not null)
        {
            // Rows that hold parts of other examples' losses do not sum to this.
            return [.. _accumulated.Select(parts => parts?.Select(part => part.clone()).ToArray())];
        }

        using var weights = tensor(Weights, dtype: _loop.Session.Dtype, device: _loop.Session.Device); // [B]
        return _rows.Sum(weights);
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
                Add(_pass.PlainParameters[k], gradient, weight, isOurs: false);
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
                $"The weights of the examples with ids {InfluenceException.List(bad)} are NaN or infinite; finite numbers are expected."
            )
            {
                ExampleIds = bad,
            };
        }
    }

    private void Add(Tensor[]?[] sums, double scale)
    {
        using var span = Spans.Of("added to .grad");
        var blocks = _loop.Session.Blocks;
        for (var k = 0; k < blocks.Count; k++)
        {
            for (var p = 0; p < blocks[k].Parts.Count; p++)
            {
                if (sums[k] is { } parts)
                {
                    Add(blocks[k].Parts[p].Parameter, parts[p], scale, isOurs: !_mixes);
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
                    ? [.. before.Zip(parts, (total, part) => total.add_(part, alpha: Kept(scale)))]
                    : [.. parts.Select(part => _made.Own(part * Kept(scale)))];
            }
        }
    }

    /// <param name="parameter">Whose.</param>
    /// <param name="gradient">What is added, once it is scaled.</param>
    /// <param name="scale">By how much.</param>
    /// <param name="isOurs">Whether nothing else will read the gradient, so that it can be scaled in its place.</param>
    private static void Add(ModelParameter parameter, Tensor gradient, double scale, bool isOurs)
    {
        var value = parameter.Value;
        if (value.grad is { } present)
        {
            present.add_(gradient.reshape(value.shape), alpha: Kept(scale));
        }
        else
        {
            value.grad = isOurs ? gradient.mul_(Kept(scale)).reshape(value.shape) : gradient.reshape(value.shape) * Kept(scale);
        }
    }

    /// <summary>The second backward pass, where parameters without a rule or a mixing module need one: their share goes to
    /// <c>.grad</c>.</summary>
    private Dictionary<TrackedLayer, List<LayerCall>> Reweighted(double[] weights)
    {
        try
        {
            var w = tensor(weights, dtype: _pass.Losses.dtype, device: _pass.Losses.device); // [B]
            return TrainingSession.Reweighted(_pass, w);
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            throw new InfluenceException(
                $"The batch could not be differentiated again: {exception.Message.Split('\n')[0].TrimEnd('.')}. Call Accumulate(weights) "
                    + "before the optimizer's step.",
                exception
            );
        }
    }
}
