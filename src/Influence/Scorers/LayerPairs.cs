using System.Text.RegularExpressions;

namespace Influence.Scorers;

/// <summary>Which layers' gradients are compared.</summary>
internal static partial class LayerPairs
{
    /// <summary>
    /// By name: each layer with the next of the same role and shape, where a role is a name without its numbers; and the query,
    /// key and value projections of one attention with each other.
    /// </summary>
    public static List<(int First, int Second)> Find(IReadOnlyList<SpectralLayer> layers)
    {
        var pairs = new List<(int First, int Second)>();
        for (var i = 0; i < layers.Count; i++)
        {
            var next = Enumerable
                .Range(i + 1, layers.Count - i - 1)
                .Where(j => Fit(layers[i], layers[j]) && Role(layers[i].Name) == Role(layers[j].Name))
                .Take(1);
            var projections = Projection(layers[i].Name) is { } own
                ? Enumerable.Range(i + 1, layers.Count - i - 1).Where(j => Fit(layers[i], layers[j]) && Projection(layers[j].Name) == own)
                : [];
            pairs.AddRange(next.Union(projections).Order().Select(j => (i, j)));
        }

        return pairs;
    }

    /// <summary>Those that the user names.</summary>
    public static List<(int First, int Second)> Named(
        IReadOnlyList<SpectralLayer> layers,
        IReadOnlyList<(string First, string Second)> pairs
    )
    {
        var names = layers.Select(layer => layer.Name).ToList();
        var unknown = pairs.SelectMany(pair => new[] { pair.First, pair.Second }).Where(name => !names.Contains(name)).Distinct().ToList();
        if (unknown.Count > 0)
        {
            throw new InfluenceException(
                $"Pairs names {InfluenceException.List(unknown)}; the linear layers that take part are "
                    + $"{InfluenceException.List(names)}."
            );
        }

        List<(int First, int Second)> found = [.. pairs.Select(pair => (names.IndexOf(pair.First), names.IndexOf(pair.Second)))];
        var unlike = found
            .Where(pair => !Fit(layers[pair.First], layers[pair.Second]))
            .Select(pair => $"{Describe(layers[pair.First])} and {Describe(layers[pair.Second])}")
            .ToList();
        return unlike.Count == 0
            ? found
            : throw new InfluenceException(
                $"Gradients of equal shape have a cosine; found {InfluenceException.List(unlike)}. Leave these out of Pairs."
            );
    }

    private static bool Fit(SpectralLayer a, SpectralLayer b) => (a.Outputs, a.Inputs) == (b.Outputs, b.Inputs);

    private static string Describe(SpectralLayer layer) => $"{layer.Name} [{layer.Outputs}, {layer.Inputs}]";

    private static string Role(string name) => Numbers().Replace(name, "#");

    /// <summary>The name of a query, key or value projection with that word taken out; null for other layers.</summary>
    private static string? Projection(string name) =>
        QueryKeyValue().Match(name) is { Success: true } match ? name.Remove(match.Groups[1].Index, match.Groups[1].Length) : null;

    [GeneratedRegex(@"\d+")]
    private static partial Regex Numbers();

    [GeneratedRegex(@"(?:^|[._\[]|[._]w|^w)(query|key|value|q|k|v)(?:_?(?:proj|projection|lin|linear))?\]?$")]
    private static partial Regex QueryKeyValue();
}
