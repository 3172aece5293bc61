using System.Globalization;
using Influence.Numerics;

namespace Influence.Selection;

/// <summary>One group that has candidates; its size is in examples or tokens, as the budget is.</summary>
internal sealed record Stratum(string Name, int[] Positions, long Size, double Weight);

/// <summary>The groups of a pool and how a budget is shared out among them.</summary>
internal sealed class Strata
{
    private readonly double _maximumShare;
    private readonly long _total;

    /// <summary>By their lowest id: the order in which groups were named may follow the order of the candidates.</summary>
    public Strata(SelectionPool pool, GroupQuotas quotas, double maximumShare, long total, bool inTokens)
    {
        (_maximumShare, _total) = (maximumShare, total);
        All =
        [
            .. Enumerable
                .Range(0, pool.Count)
                .ToLookup(i => pool.Groups!.GroupsOf[pool.Ids[i]][0])
                .Select(group =>
                {
                    int[] positions = [.. group];
                    var size = inTokens ? positions.Sum(p => pool.Lengths![p]) : positions.Length;
                    return new Stratum(group.Key, positions, size, quotas.Weight(group.Key, size));
                }),
        ];
    }

    /// <summary>The groups.</summary>
    public IReadOnlyList<Stratum> All { get; }

    /// <summary>The most that a group may get.</summary>
    public long Cap(Stratum stratum) =>
        _maximumShare == 1 ? stratum.Size : Math.Min(stratum.Size, (long)Math.Floor((_maximumShare * _total) + 1e-9));

    /// <summary>In the groups' order.</summary>
    public long[] Quotas() =>
        CappedShares.LargestRemainder(
            CappedShares.Of([.. All.Select(s => s.Weight)], [.. All.Select(s => (double)Cap(s))], _total),
            [.. All.Select(Cap)]
        );

    /// <summary>The quotas as they would be if no group were too small.</summary>
    public long[] Wanted() =>
        CappedShares.LargestRemainder(
            CappedShares.Of([.. All.Select(s => s.Weight)], [.. All.Select(_ => double.PositiveInfinity)], _total),
            [.. All.Select(_ => long.MaxValue)]
        );

    /// <summary>Why the budget cannot be shared out.</summary>
    public IEnumerable<string> Problems(Stratified.Shortfall whenShort)
    {
        var available = All.Where(stratum => stratum.Weight > 0).Sum(stratum => stratum.Size);
        var allowed = All.Where(stratum => stratum.Weight > 0).Sum(Cap);
        if (available < _total)
        {
            yield return $"The budget is {_total:N0}, but the groups with a weight above 0 have {available:N0} together.";
        }
        else if (allowed < _total)
        {
            yield return string.Create(
                CultureInfo.InvariantCulture,
                $"The budget is {_total:N0}, but with a MaximumShare of {_maximumShare:0.####} the groups may give {allowed:N0} together. "
                    + $"Allow a larger share."
            );
        }

        if (whenShort == Stratified.Shortfall.Refuse)
        {
            foreach (var (stratum, wanted) in All.Zip(Wanted()).Where(pair => pair.Second > pair.First.Size))
            {
                yield return $"The quota of the group \"{stratum.Name}\" is {wanted:N0}, but it has {stratum.Size:N0}. Give it less "
                    + "weight, or write WhenShort = Stratified.Shortfall.Redistribute.";
            }
        }
    }
}
