using System.Globalization;
using Influence.Groups;

namespace Influence.Mixtures;

/// <summary>The least and the most that a group may weigh. Groups that are not named go from 0 to 1.</summary>
/// <remarks>Immutable. Sets of bounds are joined by <see cref="And"/>.</remarks>
public sealed class MixtureBounds
{
    private readonly Dictionary<string, (double Minimum, double Maximum)> _bounds;

    private MixtureBounds(Dictionary<string, (double Minimum, double Maximum)> bounds) => _bounds = bounds;

    /// <summary>No bounds.</summary>
    public static MixtureBounds None { get; } = new([]);

    /// <summary>The groups that have bounds.</summary>
    public IReadOnlyCollection<string> Groups => _bounds.Keys;

    /// <summary>Bounds of one group.</summary>
    /// <param name="group">Its name.</param>
    /// <param name="minimum">The least weight.</param>
    /// <param name="maximum">The most.</param>
    /// <returns>The bounds.</returns>
    /// <exception cref="InfluenceException">Not 0 &lt;= minimum &lt;= maximum &lt;= 1.</exception>
    public static MixtureBounds Of(string group, double minimum = 0, double maximum = 1)
    {
        ArgumentNullException.ThrowIfNull(group);
        if (!(minimum >= 0 && minimum <= maximum && maximum <= 1))
        {
            throw new InfluenceException(
                $"The bounds of \"{group}\" are {Text(minimum)} and {Text(maximum)}; expected 0 <= minimum <= maximum <= 1."
            );
        }

        return new(new() { [group] = (minimum, maximum) });
    }

    /// <summary>
    /// At most so many passes over a group: w_g &lt;= epochs * tokens_g / budget. Groups large enough for any weight get no
    /// bound.
    /// </summary>
    /// <param name="sizes">The groups, usually <see cref="GroupScores.TrainGroups"/>.</param>
    /// <param name="tokenBudget">Tokens to train on.</param>
    /// <param name="epochs">Passes over a group; about 4 is known to cost little.</param>
    /// <returns>The bounds.</returns>
    /// <exception cref="InfluenceException">A budget or a number of epochs that is not more than 0, or a group twice.</exception>
    public static MixtureBounds Epochs(IReadOnlyList<GroupScores.Row> sizes, double tokenBudget, double epochs)
    {
        ArgumentNullException.ThrowIfNull(sizes);
        if (!(tokenBudget > 0) || !(epochs > 0))
        {
            throw new InfluenceException(
                $"A token budget and epochs of more than 0 are expected; found {Text(tokenBudget)} and {Text(epochs)}."
            );
        }

        if (sizes.GroupBy(g => g.Name).Where(g => g.Count() > 1).Select(g => g.Key).ToList() is { Count: > 0 } repeated)
        {
            throw new InfluenceException($"There is more than one size for {Mixture.Quoted(repeated)}: give each group once.");
        }

        return new(
            sizes
                .Select(g => (g.Name, Most: epochs * g.Tokens / tokenBudget))
                .Where(g => g.Most < 1)
                .ToDictionary(g => g.Name, g => (0.0, g.Most))
        );
    }

    /// <summary>Both sets of bounds; where a group has two, the tighter ones.</summary>
    /// <param name="other">The others.</param>
    /// <returns>The joint bounds.</returns>
    /// <exception cref="InfluenceException">A group's joint minimum exceeds its joint maximum.</exception>
    public MixtureBounds And(MixtureBounds other)
    {
        ArgumentNullException.ThrowIfNull(other);
        var joint = new Dictionary<string, (double Minimum, double Maximum)>(_bounds);
        foreach (var (group, bound) in other._bounds)
        {
            var mine = this[group];
            joint[group] = (Math.Max(mine.Minimum, bound.Minimum), Math.Min(mine.Maximum, bound.Maximum));
        }

        InfluenceException.ThrowIfAny([
            .. joint
                .Where(b => b.Value.Minimum > b.Value.Maximum)
                .Select(b =>
                    $"\"{b.Key}\" weighs at least {Text(b.Value.Minimum)} and at most {Text(b.Value.Maximum)}: no weight is both."
                ),
        ]);
        return new(joint);
    }

    internal (double Minimum, double Maximum) this[string group] => _bounds.GetValueOrDefault(group, (0, 1));

    /// <summary>Throws where a bound is of an unknown group, or where no mixture satisfies all of them.</summary>
    internal void Check(IReadOnlyList<string> groups)
    {
        var problems = new List<string>();
        if (Groups.Except(groups).ToList() is { Count: > 0 } unknown)
        {
            problems.Add(
                $"There are bounds for {Mixture.Quoted(unknown)}, which is no training group; there are "
                    + $"{Mixture.Quoted([.. groups])}."
            );
        }

        var least = groups.Sum(g => this[g].Minimum);
        if (least > 1 + 1e-12)
        {
            problems.Add(
                $"The least weights sum to {Text(least)}, more than 1: {Named(groups, b => b.Minimum, (0, 1))}. Lower one of them."
            );
        }

        var most = groups.Sum(g => this[g].Maximum);
        if (most < 1 - 1e-12)
        {
            problems.Add(
                $"The largest weights sum to {Text(most)}, less than 1: {Named(groups, b => b.Maximum, (0, 1))}. "
                    + "Raise one of them: more epochs, or a smaller token budget."
            );
        }

        InfluenceException.ThrowIfAny(problems);
    }

    internal string Describe(IReadOnlyList<string> groups) =>
        InfluenceException.List([
            .. groups.Where(g => this[g] != (0, 1)).Select(g => $"{Text(this[g].Minimum)} <= \"{g}\" <= {Text(this[g].Maximum)}"),
        ]);

    private string Named(
        IReadOnlyList<string> groups,
        Func<(double Minimum, double Maximum), double> side,
        (double Minimum, double Maximum) free
    ) => InfluenceException.List([.. groups.Where(g => side(this[g]) != side(free)).Select(g => $"\"{g}\" {Text(side(this[g]))}")]);

    private static string Text(double value) => value.ToString("G6", CultureInfo.InvariantCulture);
}
