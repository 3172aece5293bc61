using System.Globalization;
using Influence.Groups;

namespace Influence.Mixtures;

/// <summary>
/// Examples in levels of difficulty, domain by domain, and mixtures that reweigh the levels: Infra's flip, by which what there is least of
/// is read most, and the same where influence says that it helps. What each domain has in all stays as it is:
/// <code>flip:          w'(d, l) = w(d, L + 1 - l)
/// by influence:  w'(d, .) = the shares w(d, .), the largest for the level whose examples help most, and so on down</code>
/// </summary>
/// <remarks>
/// Levels without examples are left out, and a domain's own levels count from its easiest to its hardest. Difficulties come from the data,
/// from a model's losses (<c>ExampleLosses</c>) or from how often it solves an example; levels of equal size have nothing
/// to flip. With two levels the second kind flips a domain where its rarer level helps more, and only there: in the paper hard mathematics
/// helped both tasks and easy code helped code. Its influence is that of <c>GroupInfluence</c> with EK-FAC on the log likelihood of answers
/// that the model gets right. Cost: a sort. Reference: Kou et al., "Which Data Attributes Stimulate Math and Code Reasoning? An
/// Investigation via Influence Functions" (Infra), 2025 (arXiv 2505.19949), which says of its reweighting that difficulty is flipped; the
/// rule by influence, of which that is a case, is ours.
/// </remarks>
/// <example>
/// <code>
/// var levels = DifficultyLevels.Of(difficulty, bounds: [2.5], domains);
/// var scores = new GroupInfluence(new InfluenceFunction(ekfac)).Score(task, train, levels.Groups, queries);
/// var sampler = new Mixture.Sampler(levels.Groups, levels.ByInfluence(scores, query: 0), seed: 1);
/// </code>
/// </example>
public sealed class DifficultyLevels
{
    private readonly IReadOnlyList<(string Domain, string[] Levels)> _domains;

    private DifficultyLevels(ExampleGroups groups, IReadOnlyList<(string, string[])> domains) => (Groups, _domains) = (groups, domains);

    /// <summary>One group for each domain and level that has examples, named <c>math, level 1</c>, or <c>level 1</c> without domains;
    /// 1 is the easiest.</summary>
    public ExampleGroups Groups { get; }

    /// <summary>The groups' shares of all examples.</summary>
    public Mixture Natural => Mixture.Proportional(Groups);

    /// <summary>Puts examples into levels.</summary>
    /// <param name="difficulty">Each example's difficulty, higher is harder.</param>
    /// <param name="bounds">Where a level ends and the next begins, rising; an example at a bound is of the harder one. k bounds make k + 1
    /// levels.</param>
    /// <param name="domains">Each example's domain; null: one domain.</param>
    /// <returns>The levels.</returns>
    /// <exception cref="InfluenceException">No bounds or bounds that do not rise, difficulties that are not finite, or examples without a
    /// domain or with several.</exception>
    public static DifficultyLevels Of(ExampleScores difficulty, IReadOnlyList<double> bounds, ExampleGroups? domains = null)
    {
        ArgumentNullException.ThrowIfNull(difficulty);
        ArgumentNullException.ThrowIfNull(bounds);
        InfluenceException.ThrowIfAny([.. Problems(difficulty, bounds, domains)]);
        var members = new List<(string Domain, int Level, long Id)>();
        foreach (var (id, value) in difficulty.Ids.Zip(difficulty.Values))
        {
            members.Add((domains?.GroupsOf[id][0] ?? string.Empty, 1 + bounds.Count(bound => value >= bound), id));
        }

        var names = domains?.Names ?? [string.Empty];
        var groups = members
            .GroupBy(m => (m.Domain, m.Level))
            .OrderBy(g => names.Index().First(n => n.Item == g.Key.Domain).Index)
            .ThenBy(g => g.Key.Level)
            .Select(g => (g.Key.Domain, Name: NameOf(g.Key.Domain, g.Key.Level), Ids: g.Select(m => m.Id)))
            .ToList();
        return new DifficultyLevels(
            ExampleGroups.FromMembers([.. groups.Select(g => (g.Name, g.Ids))]),
            [.. groups.GroupBy(g => g.Domain).Select(d => (d.Key, d.Select(g => g.Name).ToArray()))]
        );
    }

    /// <summary>The shares of a domain's levels in the opposite order: the hardest level's goes to the easiest.</summary>
    /// <param name="domains">The domains that are flipped; none: all.</param>
    /// <returns>The mixture over <see cref="Groups"/>.</returns>
    /// <exception cref="InfluenceException">A domain that there is not.</exception>
    public Mixture Flip(params IReadOnlyList<string> domains)
    {
        ArgumentNullException.ThrowIfNull(domains);
        if (domains.Except(_domains.Select(d => d.Domain)).ToList() is { Count: > 0 } unknown)
        {
            throw new InfluenceException(
                $"There are no domains {Mixture.Quoted(unknown)}; there are {Mixture.Quoted([.. _domains.Select(d => d.Domain)])}."
            );
        }

        return Reordered((domain, levels) => domains.Count == 0 || domains.Contains(domain) ? [.. levels.Reverse()] : levels);
    }

    /// <summary>The shares of a domain's levels in the order of their influence: the largest goes to the level whose examples help a query
    /// most.</summary>
    /// <param name="scores">The influence of <see cref="Groups"/>; the mean over a group's examples counts.</param>
    /// <param name="query">The row: which query or group of queries is to be helped.</param>
    /// <returns>The mixture over <see cref="Groups"/>.</returns>
    /// <exception cref="InfluenceException">Scores of other groups, or no such row.</exception>
    public Mixture ByInfluence(GroupScores scores, int query = 0)
    {
        ArgumentNullException.ThrowIfNull(scores);
        var column = scores.TrainGroups.Index().ToDictionary(row => row.Item.Name, row => row.Index);
        if (Groups.Names.Except(column.Keys).ToList() is { Count: > 0 } missing)
        {
            throw new InfluenceException($"The scores lack the groups {Mixture.Quoted(missing)}: score levels.Groups.");
        }

        if (query < 0 || query >= scores.QueryGroups.Count)
        {
            throw new InfluenceException($"There is no row {query}; the scores have {scores.QueryGroups.Count}, counted from 0.");
        }

        var influence = Groups.Names.ToDictionary(name => name, name => scores.PerExample(query, column[name]));
        var natural = Natural;

        // The level that helps most takes the place of the one that there is most of.
        return Reordered(
            (_, levels) =>
            {
                string[] largest = [.. levels.OrderByDescending(level => natural[level])];
                string[] best = [.. levels.OrderByDescending(level => influence[level])];
                return [.. levels.Select(level => largest[Array.IndexOf(best, level)])];
            }
        );
    }

    /// <summary>What each example weighs in a loss so that the levels count as a mixture says: its group's share over the natural one; 1
    /// on the average over the examples.</summary>
    /// <param name="mixture">A mixture over <see cref="Groups"/>.</param>
    /// <returns>One weight an example.</returns>
    /// <exception cref="InfluenceException">A mixture of other groups.</exception>
    public ExampleScores Weights(Mixture mixture)
    {
        ArgumentNullException.ThrowIfNull(mixture);
        var shares = mixture.WeightsOf(Groups.Names, "the levels");
        var natural = Natural;
        var weights = Groups
            .Names.Zip(shares)
            .SelectMany(pair => Groups[pair.First].Select(id => (Id: id, Weight: pair.Second / natural[pair.First])))
            .OrderBy(pair => pair.Id)
            .ToList();
        return ExampleScores.Of([.. weights.Select(w => w.Id)], [.. weights.Select(w => w.Weight)], "weight");
    }

    /// <summary>The groups with their sizes.</summary>
    /// <returns>One line.</returns>
    public override string ToString() => Groups.ToString();

    /// <param name="from">From a domain and its levels to whose share each of them takes.</param>
    private Mixture Reordered(Func<string, string[], string[]> from)
    {
        var natural = Natural;
        var shares = _domains
            .SelectMany(domain => domain.Levels.Zip(from(domain.Domain, domain.Levels)))
            .ToDictionary(pair => pair.First, pair => natural[pair.Second]);
        return Mixture.Normalized(Groups.Names, [.. Groups.Names.Select(name => shares[name])]);
    }

    private static string NameOf(string domain, int level) =>
        string.Create(CultureInfo.InvariantCulture, $"{(domain.Length == 0 ? string.Empty : domain + ", ")}level {level}");

    private static IEnumerable<string> Problems(ExampleScores difficulty, IReadOnlyList<double> bounds, ExampleGroups? domains)
    {
        if (
            bounds.Count == 0
            || bounds.Any(bound => !double.IsFinite(bound))
            || bounds.Zip(bounds.Skip(1)).Any(pair => pair.First >= pair.Second)
        )
        {
            yield return "bounds are finite numbers that rise, at least one: bounds: [2.5] makes two levels. Found "
                + $"[{string.Join(", ", bounds.Select(bound => bound.ToString(CultureInfo.InvariantCulture)))}].";
        }

        if (difficulty.Ids.Where((_, i) => !double.IsFinite(difficulty[i])).ToList() is { Count: > 0 } bad)
        {
            yield return $"Difficulties are finite numbers; those of the examples with ids {InfluenceException.List(bad)} are not.";
        }

        if (
            domains is not null
            && difficulty.Ids.Where(id => domains.GroupsOf.GetValueOrDefault(id) is not { Count: 1 }).ToList() is { Count: > 0 } strange
        )
        {
            yield return $"Each example has one domain; these have none or several: ids {InfluenceException.List(strange)}.";
        }
    }
}
