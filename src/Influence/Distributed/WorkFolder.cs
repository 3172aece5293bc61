using System.Globalization;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Distributed;

/// <summary>
/// The open folder of one call: a manifest, a file for each unit of each stage, there whole or not at all, and claims on what is being
/// done.
/// </summary>
internal sealed class WorkFolder : IDisposable
{
    private const string OwnerKey = "influence.work";
    private const string Ending = ".safetensors";
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(50);

    private readonly Work _work;
    private readonly string _key;
    private readonly WorkMember _member;
    private readonly CancellationToken _token;

    private WorkFolder(Work work, string key, WorkMember member, CancellationToken token) =>
        (_work, _key, _member, _token) = (work, key, member, token);

    /// <summary>Opens a call's folder, or makes it.</summary>
    /// <exception cref="InfluenceException">It is another call's, cannot be written, or its clock is another; or the rank does not go with
    /// the others'.</exception>
    public static WorkFolder Open(Work work, WorkManifest wanted, CancellationToken token)
    {
        var file = Path.Combine(work.Folder, WorkManifest.FileName);
        using (var folder = FolderLock.Take(work.Folder))
        {
            CheckClock(work.Folder, folder.Now() - DateTime.UtcNow, work.StaleAfter);
            if (!File.Exists(file))
            {
                AtomicFile.Write(file, stream => stream.Write(wanted.ToBytes()));
            }

            PartialFile.Sweep(work.Folder);
        }

        var differences = wanted.DifferencesFrom(WorkManifest.Load(file));
        return differences.Count == 0
            ? new WorkFolder(work, wanted.Key(), WorkMember.Join(work, token), token)
            : throw new InfluenceException(
                $"The folder {work.Folder} holds units of another call; it differs in {string.Join("; ", differences)}. Give each call a "
                    + "folder of its own, work.In(\"name\"), or go on with the old one as it was."
            );
    }

    public void Dispose() => _member.Dispose();

    public string PathOf(string name) => Path.Combine(_work.Folder, name + Ending);

    public static string NameOf(string stage, int unit) => string.Create(CultureInfo.InvariantCulture, $"{stage}-{unit:D6}");

    public bool IsThere(string name) => File.Exists(PathOf(name));

    /// <summary>Does one thing, or waits for the process that is at it.</summary>
    /// <param name="name">Of the file that it makes.</param>
    /// <param name="make">Makes it.</param>
    public void DoOnce(string name, Action make) => Do(name, 1, () => false, _ => IsThere(name), _ => make());

    /// <summary>Does the units of a stage that are missing, and waits for those that other processes are at.</summary>
    /// <param name="stage">The stage's name.</param>
    /// <param name="units">How many there are.</param>
    /// <param name="isOver">Whether what the stage is for is there already; asked before each unit.</param>
    /// <param name="make">Does a unit and writes its file.</param>
    /// <param name="found">Told of units that were there or are done by others; null for nobody.</param>
    public void Do(string stage, int units, Func<bool> isOver, Action<int> make, Action<int>? found = null) =>
        Do(stage, units, isOver, unit => IsThere(NameOf(stage, unit)), make, found);

    /// <inheritdoc cref="Do(string, int, Func{bool}, Action{int}, Action{int}?)"/>
    /// <param name="stage">The stage's name.</param>
    /// <param name="units">How many there are.</param>
    /// <param name="isOver">Whether what the stage is for is there already.</param>
    /// <param name="isThere">Whether a unit's file is there.</param>
    /// <param name="make">Does a unit and writes its file.</param>
    /// <param name="found">Told of units that were there or are done by others.</param>
    public void Do(string stage, int units, Func<bool> isOver, Func<int, bool> isThere, Action<int> make, Action<int>? found = null)
    {
        var done = new bool[units];
        var (left, told) = (units, false);

        // Each begins at its own share, so that few look at the same unit at once.
        var start = (int)((long)units * _work.Rank / _work.Count);
        while (left > 0)
        {
            var idle = true;
            for (var k = 0; k < units; k++)
            {
                _token.ThrowIfCancellationRequested();
                var unit = (start + k) % units;
                if (done[unit])
                {
                    continue;
                }

                if (isOver())
                {
                    for (var other = 0; other < units; other++)
                    {
                        if (!done[other])
                        {
                            found?.Invoke(other);
                        }
                    }

                    return;
                }

                if (IsDone(unit) || TryMake(unit))
                {
                    (done[unit], idle) = (true, false);
                    left--;
                }
            }

            if (left > 0 && idle)
            {
                if (!told)
                {
                    Log.WorkWaits(_work.Logger, left, stage, _work.StaleAfter.TotalSeconds);
                    told = true;
                }

                _token.WaitHandle.WaitOne(s_poll);
            }
        }

        // False when another process is at it.
        bool TryMake(int unit)
        {
            using var claim = WorkClaim.TryTake(Path.Combine(_work.Folder, NameOf(stage, unit) + ".claim"), _work.StaleAfter);
            if (claim is null)
            {
                return false;
            }

            // Another process may have finished it between the look and the claim, or the whole stage, whose files are gone then.
            if (!IsDone(unit) && !isOver())
            {
                make(unit);
            }

            return true;
        }

        bool IsDone(int unit)
        {
            if (!isThere(unit))
            {
                return false;
            }

            found?.Invoke(unit);
            return true;
        }
    }

    /// <summary>Writes a file of this call.</summary>
    public void Save(
        string name,
        IReadOnlyList<(string Name, Tensor Value)> tensors,
        IReadOnlyDictionary<string, string>? metadata = null
    ) =>
        Safetensors.Save(
            PathOf(name),
            tensors,
            new Dictionary<string, string>(metadata ?? new Dictionary<string, string>()) { [OwnerKey] = $"{_key}/{name}" }
        );

    /// <summary>Opens a file of this call; its tensors are checked as they are read.</summary>
    /// <exception cref="InfluenceException">It is missing, damaged or another call's.</exception>
    public SafetensorsFile Open(string name)
    {
        var path = PathOf(name);
        try
        {
            var file = SafetensorsFile.Open(path);
            if (file.Metadata.GetValueOrDefault(OwnerKey) == $"{_key}/{name}" && file.Integrity.Length == 0)
            {
                return file;
            }

            file.Dispose();
        }
        catch (InfluenceException exception)
        {
            throw Damaged(path, exception);
        }

        throw new InfluenceException(
            $"{path} is of another call, or another unit's. Delete that file and call again with the same arguments: it is made anew."
        );
    }

    /// <summary>Reads a tensor, and says what to do where it is damaged.</summary>
    public Tensor Read(SafetensorsFile file, string name, string tensor)
    {
        try
        {
            return file.Read(tensor);
        }
        catch (InfluenceException exception)
        {
            throw Damaged(PathOf(name), exception);
        }
    }

    /// <summary>Removes a stage's files, whose sum is kept by now.</summary>
    public void Delete(string stage, int units)
    {
        for (var unit = 0; unit < units; unit++)
        {
            PartialFile.TryDelete(PathOf(NameOf(stage, unit)));
        }
    }

    /// <summary>Refuses to begin what would not fit the disk.</summary>
    /// <param name="bytes">What the call's files take together.</param>
    public void CheckRoom(long bytes)
    {
        var there = FolderSize.Of(_work.Folder, "*" + Ending);
        CheckRoom(_work.Folder, bytes - there, new DriveInfo(Path.GetFullPath(_work.Folder)).AvailableFreeSpace);
    }

    /// <summary>The same for files that lie elsewhere.</summary>
    public static void CheckFree(string folder, long bytes)
    {
        // Of a folder that is not there yet the one that it will be in says how much is free.
        var there = Path.GetFullPath(folder);
        while (!Directory.Exists(there) && Path.GetDirectoryName(there) is { } above)
        {
            there = above;
        }

        CheckRoom(folder, bytes, new DriveInfo(there).AvailableFreeSpace);
    }

    internal static void CheckRoom(string folder, long needed, long free)
    {
        if (needed > free)
        {
            throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The files of this call take {needed / (double)(1 << 20):N1} MiB more in {folder}, and "
                        + $"{free / (double)(1 << 20):N1} MiB are free there. What is there stays, and the same call goes on from it. "
                        + $"Free some room, set ExamplesPerUnit higher (fewer files of sums), or name a folder on another disk."
                )
            );
        }
    }

    internal static void CheckClock(string folder, TimeSpan difference, TimeSpan staleAfter)
    {
        if (difference.Duration() > staleAfter / 2)
        {
            throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The clock of {folder} is {difference.TotalSeconds:0.0} s before this machine's: heartbeats of living processes would "
                        + $"look old, and StaleAfter is {staleAfter.TotalSeconds:0.0} s. Set the machines' clocks by one server (NTP), or "
                        + $"StaleAfter above twice the difference."
                )
            );
        }
    }

    private static InfluenceException Damaged(string path, InfluenceException cause) =>
        new($"{path} is damaged or gone: {cause.Message} Delete that file and call again with the same arguments: it is made anew.", cause);
}
