using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Batches that are small once their gradients are factored (one position per example: a plain MLP) wait here for each
/// other, so that a few large matrix products take the place of many small ones: 170 against 130 GFLOP/s on two cores.
/// </summary>
internal sealed class JoinedBatches : IDisposable
{
    /// <summary>Products of this many examples run at full speed; more would only take memory.</summary>
    public const int Enough = 2048;

    private readonly DisposeScope _owned = NewDisposeScope();
    private readonly List<List<(Tensor Activation, Tensor OutputGradient)>> _factors = [];
    private readonly List<long> _ids = [];
    private readonly List<int> _sharing = [];
    private (ScalarType Dtype, Device Device, bool[] Biases)? _first;

    public int Count => _ids.Count;

    /// <summary>The numbers that one waiting example takes.</summary>
    public double NumbersPerExample => _factors.Sum(block => (double)block[0].Activation.shape[2] + block[0].OutputGradient.shape[2]);

    /// <summary>Whether every block of the batch is a pair of factors with one position, which counts.</summary>
    public static bool Takes(BatchGradients batch) =>
        batch.Blocks.All(block => block is FactoredGradients { Weight: true, Positions: 1, Mask: null });

    /// <summary>Copies a batch's factors; the batch may be disposed then.</summary>
    public void Add(BatchGradients batch)
    {
        using var scope = NewDisposeScope();
        var blocks = batch.Blocks.Cast<FactoredGradients>().ToList();
        _first ??= (batch.Dtype, batch.Device, [.. blocks.Select(block => block.Bias)]);
        for (var k = 0; k < blocks.Count; k++)
        {
            var block = blocks[k];
            var factors = (block.Activation.clone(), block.OutputGradient.clone());
            _owned.Attach(factors.Item1, factors.Item2);
            if (_factors.Count == k)
            {
                _factors.Add([]);
            }

            _factors[k].Add(factors);
            var sharing = FirstWithInputOf(k, blocks);
            if (_sharing.Count == k)
            {
                _sharing.Add(sharing);
            }
            else if (_sharing[k] != sharing)
            {
                _sharing[k] = k;
            }
        }

        _ids.AddRange(batch.Ids);
    }

    /// <summary>All of them as one batch, and nothing waits any more. The caller disposes the result.</summary>
    public BatchGradients Take()
    {
        var scope = NewDisposeScope();
        try
        {
            return Join(scope);
        }
        catch
        {
            scope.Dispose();
            throw;
        }
    }

    public void Dispose() => _owned.Dispose();

    private BatchGradients Join(DisposeScope scope)
    {
        var blocks = new List<BlockGradients?>(_factors.Count);
        for (var k = 0; k < _factors.Count; k++)
        {
            var activation = cat([.. _factors[k].Select(f => f.Activation)], 0);
            var outputGradient = cat([.. _factors[k].Select(f => f.OutputGradient)], 0);
            var bias = _first!.Value.Biases[k];
            blocks.Add(
                new FactoredGradients(activation.alias, outputGradient, activation.shape[2], weight: true, bias)
                {
                    InputKey = $"joined {_sharing[k]}",
                }
            );
        }

        var joined = new BatchGradients(scope, [.. _ids], _first!.Value.Dtype, _first.Value.Device) { Blocks = blocks };
        _owned.DisposeEverything();
        _factors.Clear();
        _ids.Clear();
        _sharing.Clear();
        _first = null;
        return joined;
    }

    /// <summary>The first block of a batch that saw the same input; the block itself where none did, or where that is not known.</summary>
    private static int FirstWithInputOf(int block, List<FactoredGradients> blocks)
    {
        var key = blocks[block].InputKey;
        var first = key is null ? -1 : blocks.FindIndex(b => b.InputKey == key);
        return first < 0 ? block : first;
    }
}
