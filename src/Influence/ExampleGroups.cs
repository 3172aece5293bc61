namespace Influence;

/// <summary>
/// Which examples form a group: a domain, a source, a class, a user's data. Groups keep the order in which they were first
/// named, members the order in which they were given. Groups may overlap, and need not hold every example.
/// </summary>
/// <remarks>Immutable; plain memory. Knows ids only: the same object serves training examples, queries and pools to select from.</remarks>
public sealed class ExampleGroups
{
    private readonly Dictionary<string, long[]> _members;

    private ExampleGroups(IReadOnlyList<string> names, Dictionary<string, long[]> members)
    {
        Names = names;
        _members = members;
        GroupsOf = members
            .SelectMany(m => m.Value.Select(id => (id, m.Key)))
            .GroupBy(m => m.id)
            .ToDictionary(m => m.Key, m => (IReadOnlyList<string>)[.. m.Select(pair => pair.Key)]);
    }

    /// <summary>The groups' names.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>Whether an example is in more than one group. Its gradient then counts in each of them.</summary>
    public bool Overlap => GroupsOf.Values.Any(groups => groups.Count > 1);

    /// <summary>Every id that is in a group.</summary>
    public IEnumerable<long> Ids => GroupsOf.Keys;

    /// <summary>The members of a group.</summary>
    /// <param name="group">Its name.</param>
    /// <exception cref="InfluenceException">There is no group of that name.</exception>
    public IReadOnlyList<long> this[string group] =>
        _members.TryGetValue(group, out var members)
            ? members
            : throw new InfluenceException(
                $"There is no group \"{group}\"; there are {InfluenceException.List([.. Names.Select(n => $"\"{n}\"")])}."
            );

    /// <summary>Group names by id.</summary>
    internal IReadOnlyDictionary<long, IReadOnlyList<string>> GroupsOf { get; }

    /// <summary>The groups with their sizes.</summary>
    /// <returns>For example <c>2 groups: books (120), web (4000)</c>.</returns>
    public override string ToString() =>
        $"{Names.Count} groups: {InfluenceException.List([.. Names.Select(name => $"{name} ({_members[name].Length})")])}";

    /// <summary>One group for each id, in step.</summary>
    /// <param name="ids">The examples' ids, usually <see cref="Examples.Ids"/>.</param>
    /// <param name="groups">The group of each.</param>
    /// <returns>The groups.</returns>
    /// <exception cref="InfluenceException">Lists of unlike length, an empty name, or an id twice in one group.</exception>
    public static ExampleGroups Of(IReadOnlyList<long> ids, IReadOnlyList<string> groups)
    {
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(groups);
        if (ids.Count != groups.Count)
        {
            throw new InfluenceException($"One group for each id is expected; found {ids.Count} ids and {groups.Count} groups.");
        }

        return FromMembers([
            .. ids.Zip(groups).GroupBy(pair => pair.Second).Select(g => (g.Key, (IEnumerable<long>)g.Select(pair => pair.First))),
        ]);
    }

    /// <summary>One group for each id, found by a function.</summary>
    /// <param name="ids">The examples' ids.</param>
    /// <param name="group">From an id to its group.</param>
    /// <returns>The groups.</returns>
    /// <exception cref="InfluenceException">An empty name, or an id twice.</exception>
    public static ExampleGroups Of(IReadOnlyList<long> ids, Func<long, string> group)
    {
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(group);
        return Of(ids, [.. ids.Select(group)]);
    }

    /// <summary>Groups by their members; they may overlap.</summary>
    /// <param name="groups">Name and ids.</param>
    /// <returns>The groups.</returns>
    /// <exception cref="InfluenceException">No group, a group without members or with null for them, an empty or repeated name, or an id
    /// twice in one group.</exception>
    public static ExampleGroups FromMembers(params (string Name, IEnumerable<long> Ids)[] groups)
    {
        ArgumentNullException.ThrowIfNull(groups);
        var members = new Dictionary<string, long[]>();
        var problems = new List<string>();
        if (groups.Length == 0)
        {
            problems.Add("There is no group: at least one is needed.");
        }

        foreach (var (name, ids) in groups)
        {
            if (string.IsNullOrWhiteSpace(name))
            {
                problems.Add("A group has no name: every group needs one.");
                continue;
            }

            if (ids is null)
            {
                problems.Add($"The group \"{name}\" has null for its ids: give at least one id, or leave the group out.");
                continue;
            }

            long[] list = [.. ids];
            if (!members.TryAdd(name, list))
            {
                problems.Add($"The group \"{name}\" is there twice: give each group once, with all its ids.");
            }

            if (list.Length == 0)
            {
                problems.Add($"The group \"{name}\" is empty: leave it out, or give it at least one id.");
            }

            var seen = new HashSet<long>();
            var repeated = list.Where(id => !seen.Add(id)).Distinct().ToList();
            if (repeated.Count > 0)
            {
                problems.Add($"The group \"{name}\" holds ids twice: {InfluenceException.List(repeated)}.");
            }
        }

        InfluenceException.ThrowIfAny(problems);
        return new ExampleGroups([.. groups.Select(g => g.Name)], members);
    }
}
