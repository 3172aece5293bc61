using Microsoft.Extensions.Logging;
using TorchSharp;

namespace Influence.Distributed;

/// <summary>
/// A folder in which a long call keeps what it has finished, unit by unit, and this process's place among those that share it. The same
/// call goes on where it was cut off, at whatever instant, and gives the same bytes as one that nothing cut off, by however many processes
/// it was done.
/// </summary>
/// <remarks>
/// <para>
/// Give it to the call: <c>new Ekfac.Options { Work = work.In("fit") }</c>, <c>new InfluenceFunction(fit) { Work = work.In("scores")
/// }</c>, <c>TracIn</c> alike, <c>new GradientProjection { Work = work.In("store") }</c>, <c>new Retraining(work.In("retraining"))</c>. A
/// folder is of one call: one of other weights, examples, settings or units is refused, and the difference is named.
/// </para>
/// <para>
/// The training examples are cut into units of <see cref="ExamplesPerUnit"/> that follow each other; a process claims one, finishes it,
/// writes it aside, flushes and renames it, and claims the next. A claim is a file that its owner renews: the unit of a process that died
/// is taken over, at once on the same machine and after <see cref="StaleAfter"/> elsewhere. Sums over units are taken in their order, in
/// float64. The folder is the only meeting point of the processes: it lies on a disk that all of them see. Every process waits until all
/// units are done and returns the whole result.
/// </para>
/// <para>
/// Bytes are the same on machines of the same kind with as many threads: libtorch's products depend on both. What is compared to tell
/// whether a folder is this call's: a hash of the weights, ids, up to 256 of the examples spread over all of them (of loaders the first
/// batch), the first example's loss, and the settings.
/// </para>
/// </remarks>
public sealed partial record Work
{
    /// <summary>Takes the folder; this process is one of any number that may share it.</summary>
    /// <param name="folder">Where units are kept; made when missing.</param>
    /// <exception cref="ArgumentException">An empty name.</exception>
    public Work(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        Folder = folder;
    }

    /// <summary>The folder.</summary>
    public string Folder { get; private init; }

    /// <summary>Which of the processes this is, 0 to <see cref="Count"/> - 1: where in the order of units it begins. What it does is
    /// decided by claims.</summary>
    /// <value>0.</value>
    /// <exception cref="InfluenceException">Below 0.</exception>
    public int Rank
    {
        get;
        init => field = Check.AtLeast(value, 0);
    }

    /// <summary>
    /// How many processes were started. With 2 or more, each rank is one process: a second one of the same rank that is at work in the
    /// folder, or one of another number of processes, is refused.
    /// </summary>
    /// <value>1: not numbered, and any number may share the folder.</value>
    /// <exception cref="InfluenceException">Below 1.</exception>
    public int Count
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 1;

    /// <summary>Which of the processes on its machine this is; decides <see cref="Device"/>.</summary>
    /// <value>0.</value>
    /// <exception cref="InfluenceException">Below 0.</exception>
    public int LocalRank
    {
        get;
        init => field = Check.AtLeast(value, 0);
    }

    /// <summary>How many examples a unit has; so many are lost at most when a process dies. The result's last digits depend on it, and on
    /// nothing else of how work is shared.</summary>
    /// <value>Null: a 64th of them, in whole batches.</value>
    /// <exception cref="InfluenceException">Below 1.</exception>
    public int? ExamplesPerUnit
    {
        get;
        init => field = Check.AtLeastOne(value);
    }

    /// <summary>After how long without a sign of life a unit of another machine's process is taken over. Clocks that differ by half of it
    /// are refused.</summary>
    /// <value>Two minutes.</value>
    /// <exception cref="InfluenceException">Not above zero.</exception>
    public TimeSpan StaleAfter
    {
        get;
        init => field = value > TimeSpan.Zero ? value : throw new InfluenceException($"StaleAfter is a time above zero, not {value}.");
    } = TimeSpan.FromMinutes(2);

    /// <summary>Where waiting and damaged units are told.</summary>
    /// <value>None.</value>
    public ILogger? Logger { get; init; }

    /// <summary>The GPU of this process's local rank, counted round where there are fewer; the CPU where there is none.</summary>
    public torch.Device Device =>
        torch.cuda.is_available() && torch.cuda.device_count() is > 0 and var gpus
            ? new torch.Device(DeviceType.CUDA, LocalRank % gpus)
            : torch.CPU;

    /// <summary>The same place in a folder inside this one, for one call of several.</summary>
    /// <param name="name">The folder's name.</param>
    /// <returns>The work there.</returns>
    public Work In(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        return this with { Folder = Path.Combine(Folder, name) };
    }

    /// <summary>The folder, and the rank where there are several.</summary>
    /// <returns>For example <c>runs/fit, 2 of 0 to 3</c>.</returns>
    public override string ToString() => Count == 1 ? Folder : FormattableString.Invariant($"{Folder}, {Rank} of 0 to {Count - 1}");
}
