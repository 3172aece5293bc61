using Influence.Curvature;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>
/// The summed gradient of many examples, batch by batch: one ordinary backward pass each, that adds to the parameters' own
/// gradients, as in training. What was there before is put back at the end.
/// </summary>
/// <remarks>
/// Under a PositionMask, which the loss does not know, the layers' factors are captured and summed instead: positions that do
/// not count must not count here either.
/// </remarks>
internal sealed class GradientTotal : IDisposable
{
    private readonly GradientSession _session;
    private readonly ParameterVector _layout;
    private readonly LossKind _kind;
    private readonly Tensor?[] _before;
    private GradientSum? _captured;

    public GradientTotal(GradientSession session, ParameterVector layout, LossKind kind)
    {
        (_session, _layout, _kind) = (session, layout, kind);
        using var scope = NewDisposeScope();
        var values = layout.Values();
        _before = [.. values.Select(value => value.grad?.DetachFromDisposeScope())];
        Clear(values);
    }

    private bool Masked => _session.Task.PositionMask is not null;

    /// <summary>Adds every example of a batch.</summary>
    public void Add(ExampleBatch batch)
    {
        foreach (var part in _session.Cut(batch, _kind))
        {
            AddFitting(part);
        }
    }

    private void AddFitting(ExampleBatch batch)
    {
        using var scope = NewDisposeScope();
        if (Masked)
        {
            using var captured = _session.Capture(batch, _kind);
            (_captured ??= new GradientSum(_session)).Add(captured);
            return;
        }

        using var grad = enable_grad();
        using var managed = _session.WithManagedAttention();
        var values = _layout.Values();
        using var unfrozen = RequiresGrad.On(values);
        Tensor total;
        using (Spans.Of("plain forward", examples: batch.Count))
        {
            total = _session.Losses.Evaluate(batch, _kind).sum();
        }

        if (total.requires_grad)
        {
            using var backward = Spans.Of("plain backward", examples: batch.Count);
            GuardedBackward.Accumulate(total, values, ids: batch.Ids);
        }

        GC.KeepAlive(values);
    }

    /// <summary>The sum so far, <c>[P]</c>, in the current scope; the next sum begins at zero.</summary>
    public Tensor Take()
    {
        using var scope = NewDisposeScope();
        if (Masked)
        {
            if (_captured is null)
            {
                return zeros([_layout.Length], _layout.Dtype, _layout.Device).MoveToOuterDisposeScope();
            }

            Tensor row;
            using (var taken = _captured.Take())
            {
                row = _layout.Flatten(taken);
                scope.Attach(row);
            }

            _captured.Dispose();
            _captured = null;
            return row.squeeze(0).MoveToOuterDisposeScope(); // [P]
        }

        using var span = Spans.Of("sum of a part taken");
        var values = _layout.Values();
        var total = _layout.Gather(values.Select(value => value.grad)); // [P]
        Clear(values);
        return total.MoveToOuterDisposeScope();
    }

    public void Dispose()
    {
        using var scope = NewDisposeScope();
        var values = _layout.Values();
        for (var k = 0; k < values.Length; k++)
        {
            values[k].grad = _before[k];
            _before[k]?.Dispose();
        }

        _captured?.Dispose();
    }

    private static void Clear(Tensor[] values)
    {
        foreach (var value in values)
        {
            value.grad = null;
        }
    }
}
