namespace Influence.Trees;

/// <summary>Rows of a table with their targets and ids: what a model of boosted trees was trained on, or is asked about.</summary>
/// <remarks>
/// Plain memory; nothing to dispose. Targets are numbers for regression, 0 and 1 for a binary model, and 0 to K - 1 for one of K classes.
/// A categorical feature holds the whole number by which LightGBM knows the category.
/// </remarks>
public sealed class TabularExamples
{
    private readonly double[] _features;
    private readonly double[] _targets;
    private readonly Dictionary<long, int> _positions;

    /// <summary>Takes rows, targets and ids; they are copied.</summary>
    /// <param name="features"><c>[N, F]</c>: a row an example, a column a feature, in the order in which the model was trained.</param>
    /// <param name="targets">N targets.</param>
    /// <param name="ids">N ids that do not repeat; null for 0, 1, 2, ...</param>
    /// <param name="missing">Whether not-a-number stands for a missing value, as LightGBM reads it. Otherwise it is refused.</param>
    /// <exception cref="InfluenceException">No row or no column, lists of unlike length, ids that repeat, or numbers that are not
    /// finite.</exception>
    public TabularExamples(double[,] features, IReadOnlyList<double> targets, IReadOnlyList<long>? ids = null, bool missing = false)
        : this(Flat(features), features.GetLength(1), [.. Given(targets)], ids is null ? null : [.. ids], missing) { }

    private TabularExamples(double[] features, int width, double[] targets, long[]? ids, bool missing)
    {
        var count = width == 0 ? 0 : features.Length / width;
        ids ??= [.. Enumerable.Range(0, count).Select(i => (long)i)];
        if (count == 0)
        {
            throw new InfluenceException("At least one row of at least one feature is expected; found none.");
        }

        if (targets.Length != count || ids.Length != count || ids.Distinct().Count() != count)
        {
            throw new InfluenceException(
                $"One target and one id for each row is expected, and no id twice; found {count} rows, {targets.Length} targets and "
                    + $"{ids.Length} ids ({ids.Distinct().Count()} different)."
            );
        }

        for (var i = 0; i < features.Length; i++)
        {
            if (double.IsInfinity(features[i]) || (double.IsNaN(features[i]) && !missing))
            {
                throw new InfluenceException(
                    $"Features are finite; feature {i % width} of example {ids[i / width]} is {features[i]}. Where not-a-number stands "
                        + "for a missing value, write missing: true."
                )
                {
                    ExampleIds = [ids[i / width]],
                };
            }
        }

        if (Array.FindIndex(targets, t => !double.IsFinite(t)) is >= 0 and var wrong)
        {
            throw new InfluenceException($"Targets are finite; that of example {ids[wrong]} is {targets[wrong]}.")
            {
                ExampleIds = [ids[wrong]],
            };
        }

        (_features, FeatureCount, _targets, Ids, Missing) = (features, width, targets, ids, missing);
        _positions = ids.Select((id, i) => (id, i)).ToDictionary(pair => pair.id, pair => pair.i);
    }

    /// <summary>The examples' ids, row by row.</summary>
    public IReadOnlyList<long> Ids { get; }

    /// <summary>The targets, row by row.</summary>
    public IReadOnlyList<double> Targets => _targets;

    /// <summary>The number of examples.</summary>
    public int Count => _targets.Length;

    /// <summary>The number of features.</summary>
    public int FeatureCount { get; }

    /// <summary>Whether not-a-number stands for a missing value.</summary>
    public bool Missing { get; }

    /// <summary>One number.</summary>
    /// <param name="row">The example's row (not id).</param>
    /// <param name="feature">The feature's column.</param>
    public double this[int row, int feature] => Row(row)[feature];

    internal ReadOnlySpan<double> Row(int row) => _features.AsSpan(row * FeatureCount, FeatureCount);

    internal double[] TargetArray => _targets;

    /// <summary>Some of the examples, in the order given.</summary>
    /// <param name="ids">Their ids.</param>
    /// <returns>The examples, copied.</returns>
    /// <exception cref="InfluenceException">An id that is not there, or no id.</exception>
    public TabularExamples Only(IReadOnlyList<long> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        int[] rows = [.. ids.Select(PositionOf)];
        var features = new double[rows.Length * FeatureCount];
        for (var i = 0; i < rows.Length; i++)
        {
            Row(rows[i]).CopyTo(features.AsSpan(i * FeatureCount));
        }

        return new TabularExamples(features, FeatureCount, [.. rows.Select(r => _targets[r])], [.. ids], Missing);
    }

    /// <summary>All examples but some, in their order.</summary>
    /// <param name="ids">The ids of those that are left out.</param>
    /// <returns>The others, copied.</returns>
    /// <exception cref="InfluenceException">An id that is not there, or nothing left.</exception>
    public TabularExamples Without(IReadOnlyCollection<long> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        HashSet<int> left = [.. ids.Select(PositionOf)];
        return Only([.. Ids.Where((_, i) => !left.Contains(i))]);
    }

    /// <summary>The same rows with other targets, flipped labels for instance.</summary>
    /// <param name="targets">N targets.</param>
    /// <returns>The examples.</returns>
    /// <exception cref="InfluenceException">Another number of targets, or one that is not finite.</exception>
    public TabularExamples WithTargets(IReadOnlyList<double> targets) =>
        new(_features, FeatureCount, [.. Given(targets)], [.. Ids], Missing);

    internal int PositionOf(long id) =>
        _positions.TryGetValue(id, out var position)
            ? position
            : throw new InfluenceException($"There is no example with id {id} among the {Count} examples.") { ExampleIds = [id] };

    private static double[] Flat(double[,] features)
    {
        ArgumentNullException.ThrowIfNull(features);
        var flat = new double[features.Length];
        Buffer.BlockCopy(features, 0, flat, 0, flat.Length * sizeof(double));
        return flat;
    }

    private static IReadOnlyList<double> Given(IReadOnlyList<double> targets)
    {
        ArgumentNullException.ThrowIfNull(targets);
        return targets;
    }
}
