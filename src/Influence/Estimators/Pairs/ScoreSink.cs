using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// Where an estimator's scores go: it takes blocks <c>[q, b]</c> of some queries and training examples and keeps of them what is
/// wanted, all, the strongest, or sums. It checks each block: its shape, its place, and that every score is a finite number.
/// </summary>
/// <remarks>Open to users: override <see cref="Take"/>, and call <see cref="CheckComplete"/> before the result is read.</remarks>
public abstract class ScoreSink : IDisposable
{
    private const long NumbersAtOnce = 1 << 22;

    private int[]? _next;

    /// <summary>The queries' ids, row by row; empty before <see cref="Begin"/>.</summary>
    public IReadOnlyList<long> QueryIds { get; private set; } = [];

    /// <summary>The training examples' ids, column by column; empty before <see cref="Begin"/>.</summary>
    public IReadOnlyList<long> TrainIds { get; private set; } = [];

    /// <summary>The type that scores are taken in, float32 or float64.</summary>
    public ScalarType Dtype { get; private set; } = ScalarType.Float32;

    /// <summary>
    /// How many training examples' scores an estimator may gather before it hands them on. One that sums over checkpoints goes
    /// through all of them for so many examples, and reads the queries anew for each block: the more at once, the less work.
    /// </summary>
    /// <param name="queries">Q.</param>
    /// <param name="train">N.</param>
    /// <returns>Unless overridden 64 MiB of scores in float64, or eight training examples for each query where that is more; at most
    /// N.</returns>
    public virtual int ExamplesAtOnce(int queries, int train) =>
        (int)Math.Min(train, Math.Max(8L * queries, (1L << 26) / 8 / Math.Max(1, queries)));

    /// <summary>Says what is coming; called once, before the first block.</summary>
    /// <param name="queryIds">Q ids, or one of -1 where queries are scored together; not copied.</param>
    /// <param name="trainIds">N ids; not copied.</param>
    /// <param name="dtype">Float32 or float64.</param>
    /// <exception cref="InfluenceException">It was begun before, there is nothing to score, ids repeat, or another type.</exception>
    public void Begin(IReadOnlyList<long> queryIds, IReadOnlyList<long> trainIds, ScalarType dtype)
    {
        ArgumentNullException.ThrowIfNull(queryIds);
        ArgumentNullException.ThrowIfNull(trainIds);
        string[] problems =
        [
            .. _next is null
                ? Array.Empty<string>()
                : ["A sink takes the scores of one call, and this one has begun already. Make a new one for each call."],
            .. queryIds.Count > 0 && trainIds.Count > 0
                ? Array.Empty<string>()
                : [$"At least one query and one training example are needed; found {queryIds.Count} and {trainIds.Count}."],
            .. AreDistinct(queryIds) && AreDistinct(trainIds)
                ? Array.Empty<string>()
                : ["Ids of queries, and ids of training examples, may not repeat."],
            .. dtype is ScalarType.Float32 or ScalarType.Float64
                ? Array.Empty<string>()
                : [$"Scores are float32 or float64; found {dtype}."],
        ];
        InfluenceException.ThrowIfAny(problems);
        (QueryIds, TrainIds, Dtype, _next) = (queryIds, trainIds, dtype, new int[queryIds.Count]);
        Start();
    }

    /// <summary>Takes the scores of some queries that follow each other and some training examples that follow each other.</summary>
    /// <remarks>The blocks of a query come in the order of the training data, without gaps; in which order the queries come is
    /// free.</remarks>
    /// <param name="query">The first query's row.</param>
    /// <param name="train">The first training example's column.</param>
    /// <param name="values"><c>[q, b]</c>, on any device. It stays the caller's, who does not change its numbers afterwards.</param>
    /// <exception cref="InfluenceException">Not begun, another shape or place than expected, or scores that are NaN or infinite; it names
    /// them.</exception>
    public void Add(int query, int train, Tensor values)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (_next is null)
        {
            throw new InfluenceException("The sink has not begun. Write sink.Begin(queries.Ids, train.Ids, dtype) before the first block.");
        }

        CheckPlace(query, train, values);
        using var scope = NewDisposeScope();
        var own = values.detach().cpu().to_type(Dtype); // [q, b]
        CheckFinite(query, train, own);
        Take(query, train, own);
        for (var q = 0; q < (int)values.shape[0]; q++)
        {
            _next[query + q] += (int)values.shape[1];
        }
    }

    /// <summary>Counts scores that need not be given, since what they are is known not to matter.</summary>
    private protected void LeaveOut(int query, int count) => _next![query] += count;

    /// <summary>Frees what the sink holds and has not given away.</summary>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Called once, when ids and type are known.</summary>
    protected virtual void Start() { }

    /// <summary>Keeps what is wanted of a block that was checked.</summary>
    /// <param name="query">The first query's row.</param>
    /// <param name="train">The first training example's column.</param>
    /// <param name="values"><c>[q, b]</c> on the CPU, in <see cref="Dtype"/>; it lives until the call ends, its memory as long as it is
    /// aliased.</param>
    protected abstract void Take(int query, int train, Tensor values);

    /// <summary>Checks that every score of every query was given.</summary>
    /// <exception cref="InfluenceException">Some are missing.</exception>
    protected void CheckComplete()
    {
        if (_next is null)
        {
            throw new InfluenceException(
                "The estimator gave no score. It writes sink.Begin(queries.Ids, train.Ids, dtype), then sink.Add for each block."
            );
        }

        var missing = Enumerable.Range(0, _next.Length).Where(q => _next[q] < TrainIds.Count).ToList();
        if (missing.Count > 0)
        {
            throw new InfluenceException(
                "The estimator gave too few scores: of the queries with ids "
                    + $"{InfluenceException.List([.. missing.Select(q => QueryIds[q])])} "
                    + $"{_next[missing[0]]} of {TrainIds.Count} training examples are scored. Every pair is expected, once."
            );
        }
    }

    /// <summary>Frees what the sink holds.</summary>
    /// <param name="disposing">Always true.</param>
    protected virtual void Dispose(bool disposing) { }

    private void CheckPlace(int query, int train, Tensor values)
    {
        if (values.dim() != 2)
        {
            throw new InfluenceException($"A block of scores is [queries, training examples]; found [{string.Join(", ", values.shape)}].");
        }

        var (rows, columns) = (values.shape[0], values.shape[1]);
        if (query < 0 || query + rows > QueryIds.Count || train < 0 || train + columns > TrainIds.Count)
        {
            throw new InfluenceException(
                $"A block of [{rows}, {columns}] at query {query} and training example {train} lies outside of [{QueryIds.Count}, "
                    + $"{TrainIds.Count}]."
            );
        }

        for (var q = query; q < query + rows; q++)
        {
            if (_next![q] != train)
            {
                throw new InfluenceException(
                    $"Scores come in the order of the training data, each once: for the query with id {QueryIds[q]} those from position "
                        + $"{_next[q]} on are expected next; found position {train}."
                );
            }
        }
    }

    private void CheckFinite(int query, int train, Tensor values)
    {
        // Some rows at a time: the check makes a tensor of the size of what it looks at.
        var atOnce = Math.Max(1, NumbersAtOnce / Math.Max(1, values.shape[1]));
        for (long row = 0; row < values.shape[0]; row += atOnce)
        {
            using var scope = NewDisposeScope();
            if (FiniteProducts.AnyNotFinite(values.narrow(0, row, Math.Min(atOnce, values.shape[0] - row))))
            {
                ThrowNotFinite(query, train, values);
            }
        }
    }

    private static bool AreDistinct(IReadOnlyList<long> ids)
    {
        // A set of ten million ids would take half a gigabyte.
        var sorted = ids.ToArray();
        Array.Sort(sorted);
        return !sorted.Zip(sorted.Skip(1)).Any(pair => pair.First == pair.Second);
    }

    private void ThrowNotFinite(int query, int train, Tensor values)
    {
        var bad = values.isfinite().logical_not(); // [q, b]
        var (rows, columns) = (Named(bad.any(1), QueryIds, query), Named(bad.any(0), TrainIds, train));
        throw new InfluenceException(
            $"The scores of the training examples with ids {InfluenceException.List(columns)} for the queries with ids "
                + $"{InfluenceException.List(rows)} are NaN or infinite. "
                + "Look at their inputs, leave them out, or use a float64 model."
        )
        {
            ExampleIds = columns,
        };

        static long[] Named(Tensor flags, IReadOnlyList<long> ids, int first)
        {
            var values = flags.to_type(ScalarType.Int64).data<long>().ToArray();
            return [.. Enumerable.Range(0, values.Length).Where(i => values[i] != 0).Select(i => ids[first + i])];
        }
    }
}
