using Influence.Numerics;

namespace Influence.Groups;

/// <summary>
/// Who takes part: of each group at most so many examples, drawn at random, and dealt at random to parts of like size, from
/// whose spread the group's standard error comes. Both draws are keyed by (seed, id): batch size and order change nothing.
/// </summary>
internal sealed class GroupPlan
{
    private GroupPlan(ExampleGroups groups, IReadOnlyList<GroupSlot> slots) => (Groups, Slots) = (groups, slots);

    public ExampleGroups Groups { get; }

    /// <summary>The parts of all groups, group by group.</summary>
    public IReadOnlyList<GroupSlot> Slots { get; }

    /// <summary>Gradients that are taken; an example that is in two groups counts twice.</summary>
    public long Gradients => Slots.Sum(slot => (long)slot.Positions.Length);

    /// <summary>Every group whole, in one part.</summary>
    public static GroupPlan Whole(ExampleGroups groups, Examples examples) => Of(groups, examples, int.MaxValue, 1, 0);

    /// <param name="groups">The groups; every id is an example's.</param>
    /// <param name="examples">The examples.</param>
    /// <param name="maximum">Examples of a group that take part.</param>
    /// <param name="blocks">Parts of a group; one an example where it has fewer. Null: by its size, whatever the batches; see
    /// <see cref="GroupInfluence.Blocks"/>.</param>
    /// <param name="seed">Of both draws.</param>
    public static GroupPlan Of(ExampleGroups groups, Examples examples, int maximum, int? blocks, long seed)
    {
        var positions = examples.Ids.Select((id, position) => (id, position)).ToDictionary(pair => pair.id, pair => pair.position);
        var slots = new List<GroupSlot>();
        for (var g = 0; g < groups.Names.Count; g++)
        {
            var members = groups[groups.Names[g]];
            long[] drawn = members.Count <= maximum ? [.. members] : [.. Shuffled(members, seed, purpose: 1).Take(maximum)];
            var dealt = blocks == 1 ? drawn : [.. Shuffled(drawn, seed, purpose: 2)];
            var parts = Math.Min(blocks ?? Parts(dealt.Length), dealt.Length);
            for (var part = 0; part < parts; part++)
            {
                int[] own = [.. dealt.Where((_, i) => i % parts == part).Select(id => positions[id])];
                Array.Sort(own);
                slots.Add(new GroupSlot(g, own));
            }
        }

        return new GroupPlan(groups, slots);
    }

    /// <summary>What is wrong with groups for these examples.</summary>
    public static IEnumerable<string> Problems(ExampleGroups? groups, Examples examples, string what, string role)
    {
        if (groups is not null && groups.Ids.Except(examples.Ids).ToList() is { Count: > 0 } unknown)
        {
            var names = groups.Names.Where(name => groups[name].Any(unknown.Contains)).ToList();
            yield return $"The {what} hold ids that none of the {role} has: {InfluenceException.List(unknown)} (in "
                + $"{InfluenceException.List([.. names.Select(n => $"\"{n}\"")])}). "
                + $"Groups are made of the ids of Examples.Ids: ExampleGroups.Of({(role == "queries" ? "queries" : "train")}.Ids, id => "
                + "...).";
        }
    }

    /// <summary>Each part costs a backward pass at least, so that a small group has few.</summary>
    private static int Parts(int examples) => Math.Max(Math.Clamp(examples / 64, 2, 8), Math.Min(examples / 128, 20));

    private static IEnumerable<long> Shuffled(IEnumerable<long> ids, long seed, int purpose)
    {
        var key = KeyedRandom.Mix(KeyedRandom.Mix((ulong)seed) ^ (ulong)purpose);
        return KeyedRandom.Shuffled(ids, key, id => id).ThenBy(id => id);
    }
}
