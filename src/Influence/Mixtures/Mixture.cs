using System.Globalization;
using System.Text.Json;
using Influence.Display;
using Influence.Formats;
using Influence.Groups;

namespace Influence.Mixtures;

/// <summary>
/// How much of each group to train on: weights by group name that are not negative and sum to 1. Immutable; plain memory.
/// </summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed partial class Mixture : IDisplay
{
    private const string Format = "influence.mixture";
    private const double SumTolerance = 1e-6;

    private readonly double[] _weights;
    private readonly Dictionary<string, int> _index;

    /// <summary>Makes a mixture.</summary>
    /// <param name="names">The groups.</param>
    /// <param name="weights">One weight each, summing to 1 within 1e-6; they are kept as given. <see cref="Normalized"/> takes any
    /// sum.</param>
    /// <exception cref="InfluenceException">No groups, lists of unlike length, repeated or empty names, or weights that are negative, not
    /// finite or do not sum to 1.</exception>
    public Mixture(IReadOnlyList<string> names, IReadOnlyList<double> weights)
    {
        ArgumentNullException.ThrowIfNull(names);
        ArgumentNullException.ThrowIfNull(weights);
        InfluenceException.ThrowIfAny([.. Problems(names, weights)]);
        (Names, _weights) = ([.. names], [.. weights]);
        _index = names.Select((name, j) => (name, j)).ToDictionary(pair => pair.name, pair => pair.j);
    }

    /// <summary>The groups.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>Their weights, in step.</summary>
    public IReadOnlyList<double> Weights => _weights;

    /// <summary>The weights by group name, for <c>GroupQuotas.Of(mixture.ByName)</c>.</summary>
    public IReadOnlyDictionary<string, double> ByName => _index.ToDictionary(pair => pair.Key, pair => _weights[pair.Value]);

    /// <summary>-sum w ln w, from 0 (one group only) to ln(number of groups).</summary>
    public double Entropy => -_weights.Where(w => w > 0).Sum(w => w * Math.Log(w));

    /// <summary>The weight of a group.</summary>
    /// <param name="group">Its name.</param>
    /// <exception cref="InfluenceException">The mixture has no such group.</exception>
    public double this[string group] =>
        _index.TryGetValue(group, out var j)
            ? _weights[j]
            : throw new InfluenceException($"The mixture has no group \"{group}\"; it has {Quoted(Names)}.");

    /// <summary>The same weight for every group.</summary>
    /// <param name="names">The groups.</param>
    /// <returns>The mixture.</returns>
    /// <exception cref="InfluenceException">No groups, or repeated or empty names.</exception>
    public static Mixture Uniform(params IReadOnlyList<string> names)
    {
        ArgumentNullException.ThrowIfNull(names);
        return new(names, [.. names.Select(_ => 1.0 / names.Count)]);
    }

    /// <summary>Weights of any positive sum, divided by it.</summary>
    /// <param name="names">The groups.</param>
    /// <param name="weights">One weight each.</param>
    /// <returns>The mixture.</returns>
    /// <exception cref="InfluenceException">As the constructor, and weights that are all 0.</exception>
    public static Mixture Normalized(IReadOnlyList<string> names, IReadOnlyList<double> weights)
    {
        ArgumentNullException.ThrowIfNull(names);
        ArgumentNullException.ThrowIfNull(weights);
        var sum = weights.Sum();
        if (weights.Count > 0 && weights.All(w => w == 0))
        {
            throw new InfluenceException("The weights are all 0; at least one is more. For equal weights write Mixture.Uniform(names).");
        }

        // Weights that are no weights go to the constructor as they are, which names them.
        return new(names, weights.All(w => w >= 0) && double.IsFinite(sum) ? [.. weights.Select(w => w / sum)] : weights);
    }

    /// <summary>Natural proportions: by the number of examples.</summary>
    /// <param name="groups">The groups; where they overlap an example counts in each.</param>
    /// <returns>The mixture.</returns>
    public static Mixture Proportional(ExampleGroups groups)
    {
        ArgumentNullException.ThrowIfNull(groups);
        return Normalized(groups.Names, [.. groups.Names.Select(name => (double)groups[name].Count)]);
    }

    /// <summary>Natural proportions: by the number of tokens.</summary>
    /// <param name="sizes">The groups, usually <see cref="GroupScores.TrainGroups"/>.</param>
    /// <returns>The mixture.</returns>
    public static Mixture Proportional(IReadOnlyList<GroupScores.Row> sizes)
    {
        ArgumentNullException.ThrowIfNull(sizes);
        return Normalized([.. sizes.Select(g => g.Name)], [.. sizes.Select(g => g.Tokens)]);
    }

    /// <summary>
    /// Takes the weights as shares of tokens and gives the shares of examples that yield them: w_j over the mean length of the
    /// group's examples. A sampler draws examples, so use this where groups have examples of unlike length.
    /// </summary>
    /// <param name="sizes">The groups' sizes, usually <see cref="GroupScores.TrainGroups"/>; in any order.</param>
    /// <returns>A mixture over examples.</returns>
    /// <exception cref="InfluenceException">The sizes are of other groups.</exception>
    public Mixture ToExampleShares(IReadOnlyList<GroupScores.Row> sizes)
    {
        ArgumentNullException.ThrowIfNull(sizes);
        var weights = WeightsOf([.. sizes.Select(g => g.Name)], "the sizes");
        return Normalized([.. sizes.Select(g => g.Name)], [.. sizes.Select((g, j) => weights[j] * g.Examples / g.Tokens)]);
    }

    /// <summary>
    /// Takes the weights as shares of examples and gives the shares of tokens that they yield: the inverse of
    /// <see cref="ToExampleShares"/>.
    /// </summary>
    /// <param name="sizes">The groups' sizes, usually <see cref="GroupScores.TrainGroups"/>; in any order.</param>
    /// <returns>A mixture over tokens.</returns>
    /// <exception cref="InfluenceException">The sizes are of other groups.</exception>
    public Mixture ToTokenShares(IReadOnlyList<GroupScores.Row> sizes)
    {
        ArgumentNullException.ThrowIfNull(sizes);
        var weights = WeightsOf([.. sizes.Select(g => g.Name)], "the sizes");
        return Normalized([.. sizes.Select(g => g.Name)], [.. sizes.Select((g, j) => weights[j] * g.Tokens / g.Examples)]);
    }

    /// <summary>Half the sum of the weights' differences: 0 for equal mixtures, 1 for mixtures without a group in common.</summary>
    /// <param name="other">A mixture of the same groups, in any order.</param>
    /// <returns>The total variation distance.</returns>
    /// <exception cref="InfluenceException">It is of other groups.</exception>
    public double Distance(Mixture other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return other.WeightsOf(Names, "this mixture").Zip(_weights, (a, b) => Math.Abs(a - b)).Sum() / 2;
    }

    /// <summary>Writes the weights as JSON, whole or not at all; the numbers come back exactly.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="InfluenceException">It cannot be written.</exception>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        AtomicFile.Write(
            path,
            stream =>
            {
                using var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
                json.WriteStartObject();
                json.WriteString("format", Format);
                json.WriteNumber("version", 1);
                json.WriteStartObject("weights");
                for (var j = 0; j < _weights.Length; j++)
                {
                    json.WriteNumber(Names[j], _weights[j]);
                }

                json.WriteEndObject();
                json.WriteEndObject();
            }
        );
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The mixture.</returns>
    /// <exception cref="InfluenceException">There is no such file, or it holds no mixture.</exception>
    public static Mixture Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        try
        {
            using var json = JsonDocument.Parse(SharedFile.ReadAllBytes(path));
            var root = json.RootElement;
            if (root.GetProperty("format").GetString() != Format || root.GetProperty("version").GetInt32() != 1)
            {
                throw new InfluenceException($"{path} is not a mixture of version 1, as Mixture.Save writes it.");
            }

            var weights = root.GetProperty("weights").EnumerateObject().ToList();
            return new([.. weights.Select(w => w.Name)], [.. weights.Select(w => w.Value.GetDouble())]);
        }
        catch (Exception exception)
            when (exception is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new InfluenceException($"{path} is not a mixture as Mixture.Save writes it: {exception.Message}", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new InfluenceException($"Cannot read {path}: {exception.Message}", exception);
        }
    }

    /// <summary>One row a group.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    /// <summary>The weights in the order of these names, which are the mixture's own in another order.</summary>
    internal double[] WeightsOf(IReadOnlyList<string> names, string whose)
    {
        var (missing, surplus) = (names.Except(Names).ToList(), Names.Except(names).ToList());
        if (missing.Count + surplus.Count > 0)
        {
            throw new InfluenceException(
                $"The mixture and {whose} are of the same groups; "
                    + string.Join(
                        " and ",
                        new[]
                        {
                            missing.Count > 0 ? $"the mixture lacks {Quoted(missing)}" : string.Empty,
                            surplus.Count > 0 ? $"the mixture alone has {Quoted(surplus)}" : string.Empty,
                        }.Where(part => part.Length > 0)
                    )
                    + ". A group that is not wanted gets the weight 0."
            );
        }

        return [.. names.Select(name => _weights[_index[name]])];
    }

    internal static string Quoted(IReadOnlyCollection<string> names) => InfluenceException.List([.. names.Select(n => $"\"{n}\"")]);

    private Table ToTable() =>
        new(
            $"Mixture of {Names.Count} groups",
            ["group", "weight"],
            [.. Names.Select((name, j) => (IReadOnlyList<object>)[name, _weights[j]])]
        );

    private static IEnumerable<string> Problems(IReadOnlyList<string> names, IReadOnlyList<double> weights)
    {
        if (names.Count == 0 || names.Count != weights.Count)
        {
            yield return $"A mixture has at least one group and one weight for each; found {names.Count} groups and {weights.Count} "
                + "weights.";
            yield break;
        }

        if (names.Any(string.IsNullOrWhiteSpace) || names.Distinct().Count() != names.Count)
        {
            yield return $"The groups of a mixture have names that do not repeat; found {Quoted(names)}.";
        }

        var bad = names.Zip(weights).Where(pair => !(pair.Second >= 0) || !double.IsFinite(pair.Second)).ToList();
        foreach (var (name, weight) in bad)
        {
            yield return $"The weight of \"{name}\" is {weight.ToString(CultureInfo.InvariantCulture)}; a finite number of at least 0 is "
                + "expected.";
        }

        if (bad.Count == 0 && Math.Abs(weights.Sum() - 1) > SumTolerance)
        {
            yield return $"The weights sum to {weights.Sum().ToString("R", CultureInfo.InvariantCulture)}; they sum to 1. "
                + "Mixture.Normalized(names, weights) divides by the sum.";
        }
    }
}
