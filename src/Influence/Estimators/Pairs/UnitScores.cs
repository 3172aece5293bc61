using System.Globalization;
using Influence.Distributed;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>Scores of some training examples after others, each unit's in a file of its own.</summary>
/// <param name="folder">The open folder.</param>
/// <param name="units">How the examples are cut.</param>
/// <param name="train">The examples.</param>
/// <param name="reporter">Told of units that are there already.</param>
internal sealed class UnitScores(WorkFolder folder, WorkUnits units, Examples train, ProgressReporter reporter)
{
    private const string Stage = "scores";
    private const string Tensor = "scores";
    private const long FileBytes = 1 << 13;

    /// <summary>Whether nothing is left to do.</summary>
    public bool AllThere => Enumerable.Range(0, units.Count).All(unit => folder.IsThere(WorkFolder.NameOf(Stage, unit)));

    /// <summary>Opens the folder of one call; what its files take is looked for on the disk first.</summary>
    public static WorkFolder Open(
        Work work,
        WorkManifest manifest,
        WorkUnits units,
        long rows,
        Examples train,
        ScalarType dtype,
        CancellationToken token
    )
    {
        var folder = WorkFolder.Open(work, manifest, token);
        try
        {
            folder.CheckRoom(BytesOf(units, rows, train, dtype));
            return folder;
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    /// <summary>What all units' files take.</summary>
    public static long BytesOf(WorkUnits units, long rows, Examples train, ScalarType dtype) =>
        (rows * train.Count * dtype.ElementSize()) + (units.Count * FileBytes);

    /// <summary>What scores are said to cost beforehand.</summary>
    /// <param name="spent">The time, from a sample.</param>
    /// <param name="memory">What gradients may take; the scores come to it.</param>
    /// <param name="work">Where they are kept in units; null: nowhere.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="rows">One for each query, or one.</param>
    /// <param name="dtype">The scores' type.</param>
    public static Work.Cost CostOf(Spent spent, MemoryBudget memory, Work? work, Examples train, long rows, ScalarType dtype)
    {
        var units = work is null ? null : new WorkUnits(train, work);
        return new Work.Cost(
            spent.Clock,
            memory + (rows * train.Count * dtype.ElementSize()),
            units is null ? 0 : BytesOf(units, rows, train, dtype),
            units?.Count ?? 1
        )
        {
            Processor = spent.Processor,
        };
    }

    /// <summary>Scores the units that are missing.</summary>
    /// <param name="score">Scores some examples: <c>[q, n]</c> on the CPU in the current scope, and how they were made.</param>
    public void Do(Func<Examples, (Tensor Values, ScoreMetadata Metadata)> score) =>
        folder.Do(
            Stage,
            units.Count,
            () => false,
            unit =>
            {
                using var scope = NewDisposeScope();
                var (values, metadata) = score(units.Of(unit));
                // Without what it took: the same unit has the same bytes whoever did it.
                folder.Save(WorkFolder.NameOf(Stage, unit), [(Tensor, values)], (metadata with { Cost = null }).ToStrings());
            },
            unit => reporter.Add(units.CountOf(unit))
        );

    /// <summary>Hands all scores to a sink, unit after unit.</summary>
    public ScoreMetadata Merge(ScoreSink sink, IReadOnlyList<long> queryIds)
    {
        ScoreMetadata? metadata = null;
        Each(
            (unit, values, strings) =>
            {
                if (metadata is null)
                {
                    metadata = ScoreMetadata.FromStrings(strings, string.Empty);
                    sink.Begin(queryIds, train.Ids, values.dtype);
                }

                sink.Add(0, units.First(unit), values);
            }
        );
        return metadata! with { Cost = ScoreMetadata.RunCost.OfCallUnderWay() };
    }

    /// <summary>All self-influences.</summary>
    public ExampleScores MergeSelf()
    {
        ScoreMetadata? metadata = null;
        var all = new double[train.Count];
        Each(
            (unit, values, strings) =>
            {
                metadata ??= ScoreMetadata.FromStrings(strings, string.Empty);
                values.reshape(-1).to_type(ScalarType.Float64).data<double>().ToArray().CopyTo(all, units.First(unit));
            }
        );
        var cost = ScoreMetadata.RunCost.OfCallUnderWay();
        return new ExampleScores("Self-influence", train.Ids, all, metadata! with { Cost = cost });
    }

    private void Each(Action<int, Tensor, Dictionary<string, string>> take)
    {
        for (var unit = 0; unit < units.Count; unit++)
        {
            using var scope = NewDisposeScope();
            var name = WorkFolder.NameOf(Stage, unit);
            using var file = folder.Open(name);
            var values = folder.Read(file, name, Tensor); // [q, n]
            if (values.dim() != 2 || values.shape[1] != units.CountOf(unit))
            {
                throw new InfluenceException(
                    $"{folder.PathOf(name)} has scores of shape [{string.Join(", ", values.shape)}]; expected those of "
                        + $"{units.CountOf(unit).ToString(CultureInfo.InvariantCulture)} examples. Delete that file and call again."
                );
            }

            take(unit, values, file.Metadata);
        }
    }
}
