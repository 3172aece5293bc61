using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// One attention layer whose heads can be masked, which makes their attention uniform over the positions that they may look at,
/// and whose strongest attention can be read.
/// </summary>
/// <param name="name">The layer's name.</param>
internal abstract class WatchedAttention(string name) : IDisposable
{
    private readonly List<Tensor> _strongest = [];
    private HashSet<int> _masked = [];

    public string Name => name;

    /// <summary>The number of (query) heads; known after a forward pass.</summary>
    /// <exception cref="InfluenceException">The layer was not called, or its widths do not fit its heads.</exception>
    public abstract int Heads { get; }

    /// <summary>The heads that are masked.</summary>
    public IReadOnlyCollection<int> Masked
    {
        get => _masked;
        set
        {
            _masked = [.. value];
            Changed();
        }
    }

    /// <summary>The probes that are read; null for none.</summary>
    public CopyProbes? Probes
    {
        get;
        set
        {
            field = value;
            Changed();
        }
    }

    /// <summary>Whether <see cref="Heads"/> is to be found out by the next forward pass.</summary>
    public bool Counts
    {
        get;
        set
        {
            field = value;
            Changed();
        }
    }

    /// <summary>Whether anything is done with the next forward pass.</summary>
    protected bool IsOn => Counts || Probes is not null || _masked.Count > 0;

    /// <summary>
    /// The key positions of the strongest attention at the probes' predicting positions, <c>[B, H, A]</c> int64, one entry a call of
    /// the layer; the caller's.
    /// </summary>
    public IReadOnlyList<Tensor> Take()
    {
        Tensor[] taken = [.. _strongest];
        _strongest.Clear();
        return taken;
    }

    /// <summary>Sees nothing more, and masks nothing.</summary>
    public virtual void Dispose()
    {
        foreach (var tensor in Take())
        {
            tensor.Dispose();
        }
    }

    /// <summary>The largest of <c>[B, H, A, S]</c> along the keys, kept.</summary>
    protected void Keep(Tensor scores) => _strongest.Add(scores.argmax(-1).DetachFromDisposeScope());

    protected virtual void Changed() { }

    /// <summary>Which of <paramref name="width"/> numbers, head by head, belong to masked heads: bool <c>[width]</c>.</summary>
    protected Tensor MaskedColumns(long width, int heads, Device device)
    {
        if (_masked.Any(head => head < 0 || head >= heads))
        {
            throw new InfluenceException(
                $"{Name} has {heads} heads, 0 to {heads - 1}; found {InfluenceException.List([.. _masked.Order()])}."
            );
        }

        var size = width / heads;
        return tensor(Enumerable.Range(0, (int)width).Select(i => _masked.Contains((int)(i / size))).ToArray(), device: device);
    }
}
