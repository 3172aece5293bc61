using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Batches that are small once their gradients are factored (one position per example: a plain MLP) wait here for each
/// other, so that a few large matrix products take the place of many small ones.
/// </summary>
internal sealed class JoinedBatches : IDisposable
{
    /// <summary>Products of this many examples run at full speed; more would only take memory.</summary>
    public const int Enough = 2048;

    private readonly DisposeScope _owned = NewDisposeScope();
    private readonly List<List<(Tensor Activation, Tensor OutputGradient)>> _factors = [];
    private readonly List<(Tensor Activation, Tensor OutputGradient)> _room = [];
    private readonly List<long> _ids = [];
    private readonly List<int> _sharing = [];
    private (ScalarType Dtype, Device Device, bool[] Biases)? _first;

    public int Count => _ids.Count;

    /// <summary>The numbers that one example of a batch takes while it waits.</summary>
    public static double NumbersPerExample(BatchGradients batch) =>
        batch.Blocks.Sum(block => block is FactoredGradients factors ? (double)factors.Inputs + factors.Outputs : 0);

    /// <summary>Whether every block of the batch is a pair of factors with one position, which counts.</summary>
    public static bool Takes(BatchGradients batch) =>
        batch.Blocks.All(block => block is FactoredGradients { Weight: true, Positions: 1, Mask: null });

    /// <summary>Copies a batch's factors; the batch may be disposed then.</summary>
    /// <param name="batch">The batch.</param>
    /// <param name="room">How many examples wait at most: they are copied once, into memory that is used again for those that wait after
    /// them, always with the same room. 0: any number, each batch in memory of its own until all are taken.</param>
    public void Add(BatchGradients batch, long room = 0)
    {
        using var span = Spans.Of("batches joined", examples: batch.Count);
        using var scope = NewDisposeScope();
        var blocks = batch.Blocks.Cast<FactoredGradients>().ToList();
        _first ??= (batch.Dtype, batch.Device, [.. blocks.Select(block => block.Bias)]);
        for (var k = 0; k < blocks.Count; k++)
        {
            var block = blocks[k];
            var factors = room > 0 ? InRoom(k, block, room) : (block.Activation.clone(), block.OutputGradient.clone());
            _owned.Attach(factors.Item1, factors.Item2);
            Spans.Made(factors.Item1);
            Spans.Made(factors.Item2);
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

    /// <summary>All of them as one batch, and nothing waits any more. The caller disposes the result, before another batch is
    /// added.</summary>
    public BatchGradients Take()
    {
        using var span = Spans.Of("batches joined");
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

    public void Dispose()
    {
        _owned.Dispose();
        foreach (var (activation, outputGradient) in _room)
        {
            activation.Dispose();
            outputGradient.Dispose();
        }
    }

    private (Tensor Activation, Tensor OutputGradient) InRoom(int k, FactoredGradients block, long room)
    {
        if (_room.Count == k)
        {
            _room.Add((Empty(block.Inputs), Empty(block.Outputs)));
        }

        return (
            _room[k].Activation.narrow(0, Count, block.Examples).copy_(block.Activation),
            _room[k].OutputGradient.narrow(0, Count, block.Examples).copy_(block.OutputGradient)
        );

        Tensor Empty(long width) =>
            empty([room, 1, width], block.OutputGradient.dtype, block.OutputGradient.device).DetachFromDisposeScope();
    }

    private BatchGradients Join(DisposeScope scope)
    {
        var blocks = new List<BlockGradients?>(_factors.Count);
        for (var k = 0; k < _factors.Count; k++)
        {
            var activation = Whole(_factors[k].ConvertAll(f => f.Activation), k < _room.Count ? _room[k].Activation : null);
            var outputGradient = Whole(_factors[k].ConvertAll(f => f.OutputGradient), k < _room.Count ? _room[k].OutputGradient : null);
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

    private Tensor Whole(List<Tensor> pieces, Tensor? room)
    {
        if (room is not null)
        {
            return room.narrow(0, 0, Count);
        }

        var whole = cat(pieces, 0);
        Spans.Made(whole);
        return whole;
    }

    /// <summary>The first block of a batch that saw the same input; the block itself where none did, or where that is not known.</summary>
    private static int FirstWithInputOf(int block, List<FactoredGradients> blocks)
    {
        var key = blocks[block].InputKey;
        var first = key is null ? -1 : blocks.FindIndex(b => b.InputKey == key);
        return first < 0 ? block : first;
    }
}
