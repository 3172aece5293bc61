namespace Influence.Selection;

/// <summary>The pool's groups as positions.</summary>
internal static class CandidateGroups
{
    /// <summary>In the order of their lowest positions; a candidate of several groups is in the one whose name is first in the alphabet.
    /// Without groups all are in one.</summary>
    public static IReadOnlyList<(string Name, int[] Members)> Of(SelectionPool pool) =>
        pool.Groups is not { } groups
            ? [("all", [.. Enumerable.Range(0, pool.Count)])]
            :
            [
                .. Enumerable
                    .Range(0, pool.Count)
                    .GroupBy(position => groups.GroupsOf[pool.Ids[position]].Min(StringComparer.Ordinal)!)
                    .Select(group => (group.Key, group.ToArray())),
            ];

    /// <summary>
    /// Takes from each group's sequence in turn so that, as far as they go, groups are picked in proportion to their sizes at every moment.
    /// </summary>
    public static void PickInProportion(IReadOnlyList<(int Position, double Gain)[]> sequences, IReadOnlyList<int> sizes, Picks picks)
    {
        var (next, taken, picked) = (new int[sequences.Count], new int[sequences.Count], 0);
        var all = (double)sizes.Sum();
        while (!picks.Full)
        {
            var group = -1;
            var most = double.NegativeInfinity;
            for (var g = 0; g < sequences.Count; g++)
            {
                while (next[g] < sequences[g].Length && !picks.Fits(sequences[g][next[g]].Position))
                {
                    next[g]++;
                }

                var missing = (sizes[g] / all * (picked + 1)) - taken[g];
                if (next[g] < sequences[g].Length && missing > most)
                {
                    (group, most) = (g, missing);
                }
            }

            if (group < 0)
            {
                return;
            }

            var (position, gain) = sequences[group][next[group]++];
            picks.Add(position, gain);
            taken[group]++;
            picked++;
        }
    }
}
