namespace Influence.Selection;

/// <summary>How a budget is shared out among groups.</summary>
public sealed record GroupQuotas
{
    private readonly string _name;
    private readonly Func<double, double>? _ofSize;
    private readonly Dictionary<string, double>? _weights;

    private GroupQuotas(string name, Func<double, double>? ofSize, Dictionary<string, double>? weights = null) =>
        (_name, _ofSize, _weights) = (name, ofSize, weights);

    /// <summary>In proportion to the groups' sizes in the pool, in examples or tokens as the budget is.</summary>
    public static GroupQuotas Proportional { get; } = new("proportional", size => size);

    /// <summary>The same for every group.</summary>
    public static GroupQuotas Equal { get; } = new("equal", _ => 1);

    /// <summary>In proportion to the square roots of the groups' sizes: between the other two.</summary>
    public static GroupQuotas SquareRoot { get; } = new("square root", Math.Sqrt);

    /// <summary>In proportion to given weights, for example those of a mixture.</summary>
    /// <param name="weights">By group name; only their ratios matter. Zero leaves a group out; every group of the pool needs a
    /// weight.</param>
    /// <returns>The quotas.</returns>
    /// <exception cref="InfluenceException">Weights that are not finite or below 0, or none above 0.</exception>
    public static GroupQuotas Of(IReadOnlyDictionary<string, double> weights)
    {
        ArgumentNullException.ThrowIfNull(weights);
        var wrong = weights.Where(pair => !double.IsFinite(pair.Value) || pair.Value < 0).Select(pair => $"\"{pair.Key}\"").ToList();
        if (wrong.Count > 0)
        {
            throw new InfluenceException(
                $"Weights of groups are finite and not negative; those of {InfluenceException.List(wrong)} are not."
            );
        }

        if (!weights.Values.Any(weight => weight > 0))
        {
            throw new InfluenceException("At least one group needs a weight above 0.");
        }

        return new GroupQuotas("given", null, weights.ToDictionary());
    }

    /// <summary>For example <c>equal</c>, or <c>web 3, books 1</c>.</summary>
    /// <returns>The quotas in words.</returns>
    public override string ToString() =>
        _weights is null
            ? _name
            : string.Join(
                ", ",
                _weights.Select(pair => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{pair.Key} {pair.Value:0.####}"))
            );

    /// <summary>What does not fit the groups of a pool.</summary>
    internal IEnumerable<string> Problems(IReadOnlyCollection<string> groups)
    {
        if (_weights is null)
        {
            yield break;
        }

        var without = groups.Where(group => !_weights.ContainsKey(group)).Select(group => $"\"{group}\"").ToList();
        if (without.Count > 0)
        {
            yield return $"These groups have no weight: {InfluenceException.List(without)}. Write 0 for a group that is to be left out.";
        }

        var unknown = _weights.Where(pair => pair.Value > 0 && !groups.Contains(pair.Key)).Select(pair => $"\"{pair.Key}\"").ToList();
        if (unknown.Count > 0)
        {
            yield return $"These groups have a weight, but no candidate in the pool: {InfluenceException.List(unknown)}. The groups of "
                + $"the pool are {InfluenceException.List([.. groups.Select(g => $"\"{g}\"")])}.";
        }
    }

    /// <summary>A group's weight; 0 where it has none.</summary>
    internal double Weight(string group, long size) => _weights is null ? _ofSize!(size) : _weights.GetValueOrDefault(group);
}
