using System.Globalization;
using Influence.Display;

namespace Influence.Selection;

/// <summary>In which order to train on examples, epoch by epoch. Plain memory; nothing to dispose.</summary>
/// <remarks>Made by <see cref="Folding"/> or <see cref="InfluenceCurriculum"/>, or by <see cref="Of"/>.</remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class ExampleOrder : IDisplay
{
    private ExampleOrder(string title, IReadOnlyList<IReadOnlyList<long>> epochs) => (Title, Epochs) = (title, epochs);

    /// <summary>What the order is, in a few words.</summary>
    public string Title { get; }

    /// <summary>Ids in training order, for each epoch; at least one epoch, none empty. Training that goes on longer begins again with the
    /// first.</summary>
    public IReadOnlyList<IReadOnlyList<long>> Epochs { get; }

    /// <summary>The first epoch's ids.</summary>
    public IReadOnlyList<long> Ids => Epochs[0];

    /// <summary>An order from anywhere.</summary>
    /// <param name="epochs">Ids in training order, for each epoch; copied.</param>
    /// <param name="title">What the order is, in a few words.</param>
    /// <returns>The order.</returns>
    /// <exception cref="InfluenceException">No epoch, or one without examples.</exception>
    public static ExampleOrder Of(IEnumerable<IEnumerable<long>> epochs, string title = "Order")
    {
        ArgumentNullException.ThrowIfNull(epochs);
        IReadOnlyList<long>[] copied = [.. epochs.Select(epoch => (IReadOnlyList<long>)[.. epoch])];
        return copied.Length > 0 && copied.All(epoch => epoch.Count > 0)
            ? new ExampleOrder(title, copied)
            : throw new InfluenceException("An order has at least one epoch, and at least one example in each.");
    }

    /// <summary>The order of some of the examples: the others are left out.</summary>
    /// <param name="ids">Which, for example <see cref="SelectedExamples.Ids"/>.</param>
    /// <returns>The order.</returns>
    /// <exception cref="InfluenceException">Ids that no epoch has, or an epoch that has none of them.</exception>
    public ExampleOrder Only(IEnumerable<long> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var wanted = ids.ToHashSet();
        var unknown = wanted.Except(Epochs.SelectMany(epoch => epoch)).ToList();
        return unknown.Count == 0
            ? Of(Epochs.Select(epoch => epoch.Where(wanted.Contains)), Title)
            : throw new InfluenceException($"The order has no example of the id {InfluenceException.List(unknown)}.")
            {
                ExampleIds = unknown,
            };
    }

    /// <summary>Indices for a <c>DataLoader</c>, one epoch a pass: <c>DataLoader(data, 64, shuffler: order.Sampler())</c>.</summary>
    /// <param name="ids">The ids of the data set's examples, in its order. Null: their positions.</param>
    /// <returns>The sampler.</returns>
    /// <exception cref="InfluenceException">An id of the order that is not among the ids.</exception>
    public IReadOnlyCollection<long> Sampler(IReadOnlyList<long>? ids = null)
    {
        var epochs = Epochs.Select(epoch => Positions.Of(epoch, ids, null)).ToArray();
        return new ExampleSampler(epochs[0].Length, pass => epochs[pass % epochs.Length]);
    }

    /// <summary>A table of the first examples of the first epoch.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            string.Create(CultureInfo.InvariantCulture, $"{Title}: {Ids.Count:N0} examples in the first of {Epochs.Count:N0} epochs"),
            ["step", "id"],
            [.. Ids.Take(Table.MaximumRows).Select((id, i) => (IReadOnlyList<object>)[i + 1, id])],
            Ids.Count
        );
}
