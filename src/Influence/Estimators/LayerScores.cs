using System.Collections;
using Influence.Display;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>Scores apart for each block of parameters. Owns them: dispose it.</summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class LayerScores : IReadOnlyList<(string Parameters, InfluenceScores Scores)>, IDisposable, IDisplay
{
    private readonly IReadOnlyList<(string Parameters, InfluenceScores Scores)> _all;

    internal LayerScores(IReadOnlyList<(string Parameters, InfluenceScores Scores)> all) => _all = all;

    /// <inheritdoc/>
    public int Count => _all.Count;

    /// <inheritdoc/>
    public (string Parameters, InfluenceScores Scores) this[int index] => _all[index];

    /// <summary>The scores of the block that holds a parameter.</summary>
    /// <param name="parameter">The parameter's name, as <c>named_parameters()</c> gives it.</param>
    /// <exception cref="InfluenceException">No block holds it.</exception>
    public InfluenceScores this[string parameter] =>
        _all.Where(l => l.Parameters.Split(", ").Contains(parameter)).Select(l => l.Scores).FirstOrDefault()
        ?? throw new InfluenceException(
            $"No block holds the parameter {parameter}; the blocks: {InfluenceException.List([.. _all.Select(l => l.Parameters)])}."
        );

    /// <inheritdoc/>
    public IEnumerator<(string Parameters, InfluenceScores Scores)> GetEnumerator() => _all.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>A table of the blocks with the root mean square of their scores.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    /// <summary>Frees the scores.</summary>
    public void Dispose()
    {
        foreach (var (_, scores) in _all)
        {
            scores.Dispose();
        }
    }

    private Table ToTable() => new("Scores by block of parameters", ["parameters", "root mean square score"], [.. _all.Select(Row)]);

    private static IReadOnlyList<object> Row((string Parameters, InfluenceScores Scores) layer)
    {
        using var scope = NewDisposeScope();
        return [layer.Parameters, layer.Scores.Values.to_type(ScalarType.Float64).Squared().mean().sqrt().item<double>()];
    }
}
