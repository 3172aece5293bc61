using System.Globalization;

namespace Influence;

/// <summary>
/// Says how many bytes a call may keep beside the model, and as many again for one batch's activations. A number of bytes converts to it:
/// <c>new TracIn { MemoryBudget = 4L &lt;&lt; 30 }</c>.
/// </summary>
/// <remarks>
/// <para>
/// Where work can be cut into parts, a smaller budget costs passes over the data and changes no result. Where it cannot, as in a
/// curvature fit, what would not fit is refused before it starts; such settings begin at <see cref="HalfOfMemory"/>.
/// </para>
/// <para>
/// A batch whose activations would not fit is cut before it is run. What one example takes is counted on a forward pass of one: every
/// layer's inputs, its outputs twice (their gradients come back) and what else the model's own code made; tensors that the code disposes
/// and libtorch needs for the backward pass all the same are not seen. The first batch of a call is checked on as many examples as fit, at
/// least two. Calls without a budget of their own take <see cref="HalfOfMemory"/>.
/// </para>
/// </remarks>
public readonly record struct MemoryBudget
{
    private const long DefaultBytes = 1L << 30;

    private readonly long _beyondDefault;

    /// <summary>Takes a number of bytes.</summary>
    /// <param name="bytes">How many.</param>
    /// <exception cref="InfluenceException">Not positive.</exception>
    public MemoryBudget(long bytes) =>
        _beyondDefault =
            bytes > 0 ? bytes - DefaultBytes : throw new InfluenceException($"MemoryBudget is a positive number of bytes, not {bytes}.");

    /// <summary>1 GiB.</summary>
    public static MemoryBudget Default => default;

    /// <summary>Half of the memory that this process may use.</summary>
    public static MemoryBudget HalfOfMemory => GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 2;

    /// <summary>How many bytes.</summary>
    public long Bytes => DefaultBytes + _beyondDefault;

    /// <summary>A number of bytes as a budget.</summary>
    /// <param name="bytes">How many.</param>
    /// <exception cref="InfluenceException">Not positive.</exception>
    public static implicit operator MemoryBudget(long bytes) => new(bytes);

    /// <summary>A budget as its number of bytes.</summary>
    /// <param name="budget">The budget.</param>
    public static implicit operator long(MemoryBudget budget) => budget.Bytes;

    /// <summary>The budget in MiB.</summary>
    /// <returns>For example "1,024 MiB".</returns>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Bytes / (double)(1 << 20):#,0.##} MiB");
}
