using System.Globalization;
using Influence.Formats;

namespace Influence.Distributed;

/// <summary>A numbered process's presence in a folder: a claim on its rank. Processes that are not numbered leave none.</summary>
internal sealed class WorkMember : IDisposable
{
    private const string Prefix = "worker-";
    private const string Between = "-of-";
    private const string Suffix = ".claim";
    private readonly WorkClaim? _claim;

    private WorkMember(WorkClaim? claim) => _claim = claim;

    /// <summary>Takes the rank, after a look whether another process has it, or is one of another number of processes.</summary>
    /// <exception cref="InfluenceException">The rank is another process's, or does not go with the others' number.</exception>
    public static WorkMember Join(Work work, CancellationToken token)
    {
        if (work.Count == 1)
        {
            return work.Rank == 0 ? new WorkMember(null) : throw Outside(work);
        }

        if (work.Rank >= work.Count)
        {
            throw Outside(work);
        }

        var own = Path.Combine(work.Folder, NameOf(work.Rank, work.Count));
        WorkClaim? claim;
        while ((claim = WorkClaim.TryTake(own, work.StaleAfter)) is null)
        {
            if (WorkClaim.Watch(own, work.StaleAfter, token))
            {
                throw new InfluenceException(
                    $"Rank {work.Rank} of {work.Count} is at work in {work.Folder} already ({WorkClaim.OwnerOf(own)}): two processes have "
                        + "the same rank. Give each process a rank of its own, or this job a folder of its own."
                );
            }
        }

        try
        {
            foreach (var other in Directory.EnumerateFiles(work.Folder, $"{Prefix}*{Suffix}"))
            {
                if (CountIn(other) is { } count && count != work.Count && WorkClaim.Watch(other, work.StaleAfter, token))
                {
                    throw new InfluenceException(
                        $"This process is one of {work.Count}, and in {work.Folder} one of {count} is at work "
                            + $"({WorkClaim.OwnerOf(other)}). Start all with the same number of processes, wait for the others' end, or "
                            + "use a folder of its own."
                    );
                }
            }

            return new WorkMember(claim);
        }
        catch
        {
            claim.Dispose();
            throw;
        }
    }

    public void Dispose() => _claim?.Dispose();

    public static string NameOf(int rank, int count) =>
        string.Create(CultureInfo.InvariantCulture, $"{Prefix}{rank}{Between}{count}{Suffix}");

    private static int? CountIn(string path)
    {
        var name = Path.GetFileNameWithoutExtension(path);
        var at = name.IndexOf(Between, StringComparison.Ordinal);
        return at > 0 && int.TryParse(name.AsSpan(at + Between.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var count)
            ? count
            : null;
    }

    private static InfluenceException Outside(Work work) =>
        new(
            $"Rank {work.Rank} is none of {work.Count} processes, whose ranks are 0 to {work.Count - 1}. Set Rank and Count, or write "
                + $"Work.FromEnvironment(folder)."
        );
}
