using Influence.Display;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>
/// Scores of training examples for queries, <c>[queries, train]</c>, with ids and metadata. Positive = proponent: training
/// on the example lowers the query's measurement.
/// </summary>
/// <remarks>Owns its tensor: dispose it, or let a <c>using</c> do so.</remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class InfluenceScores : IDisposable, IDisplay
{
    private readonly Dictionary<long, int> _queryPositions;
    private readonly Lazy<Dictionary<long, int>> _trainPositions;
    private readonly Tensor _values;

    /// <summary>Wraps scores that were computed elsewhere, by another tool for instance.</summary>
    /// <param name="values"><c>[Q, N]</c>, float32 or float64; taken over: it is moved to the CPU and disposed with this object.</param>
    /// <param name="queryIds">Q ids.</param>
    /// <param name="trainIds">N ids.</param>
    /// <param name="metadata">How they were made and how to read them.</param>
    /// <exception cref="InfluenceException">Shapes that do not fit, or ids that repeat.</exception>
    public InfluenceScores(Tensor values, IReadOnlyList<long> queryIds, IReadOnlyList<long> trainIds, ScoreMetadata metadata)
    {
        ArgumentNullException.ThrowIfNull(values);
        ArgumentNullException.ThrowIfNull(queryIds);
        ArgumentNullException.ThrowIfNull(trainIds);
        ArgumentNullException.ThrowIfNull(metadata);
        if (values.dim() != 2 || values.shape[0] != queryIds.Count || values.shape[1] != trainIds.Count)
        {
            throw new InfluenceException(
                $"Scores are [queries, train] = [{queryIds.Count}, {trainIds.Count}]; found [{string.Join(", ", values.shape)}]."
            );
        }

        if (values.dtype is not (ScalarType.Float32 or ScalarType.Float64))
        {
            throw new InfluenceException($"Scores are float32 or float64; found {values.dtype}.");
        }

        if (queryIds.Distinct().Count() != queryIds.Count || trainIds.Distinct().Count() != trainIds.Count)
        {
            throw new InfluenceException("Ids of queries, and ids of training examples, may not repeat.");
        }

        using (NewDisposeScope())
        {
            // Each step gives a tensor of its own, though they may share memory.
            _values = values.detach().cpu().contiguous().DetachFromDisposeScope();
        }

        values.Dispose();

        QueryIds = [.. queryIds];
        TrainIds = [.. trainIds];
        Metadata = metadata;
        _queryPositions = QueryIds.Select((id, q) => (id, q)).ToDictionary(pair => pair.id, pair => pair.q);
        _trainPositions = new(() => TrainIds.Select((id, n) => (id, n)).ToDictionary(pair => pair.id, pair => pair.n));
    }

    /// <summary>
    /// <c>[Q, N]</c> on the CPU: float32, or float64 for a float64 model. It belongs to this object.
    /// </summary>
    /// <exception cref="ObjectDisposedException">The scores were disposed.</exception>
    public Tensor Values
    {
        get
        {
            ObjectDisposedException.ThrowIf(_values.IsInvalid, this);
            return _values;
        }
    }

    /// <summary>The queries' ids, row by row.</summary>
    public IReadOnlyList<long> QueryIds { get; }

    /// <summary>The training examples' ids, column by column.</summary>
    public IReadOnlyList<long> TrainIds { get; }

    /// <summary>How they were made and how to read them.</summary>
    public ScoreMetadata Metadata { get; }

    /// <summary>One score.</summary>
    /// <param name="query">The query's row (not id).</param>
    /// <param name="train">The training example's column (not id).</param>
    public double this[int query, int train]
    {
        get
        {
            CheckRow(query);
            CheckColumn(train);
            using var scope = NewDisposeScope();
            return Values[query, train].to_type(ScalarType.Float64).item<double>();
        }
    }

    /// <summary>All training examples' scores for one query.</summary>
    /// <param name="query">The query's row (not id; see <see cref="RowOf"/>).</param>
    /// <returns>The row, copied.</returns>
    public ExampleScores ForQuery(int query)
    {
        CheckRow(query);
        using var scope = NewDisposeScope();
        return new ExampleScores(
            $"{(QueryIds[query] < 0 ? Name(query) : $"Query {QueryIds[query]}")}, {Metadata.Estimator}",
            TrainIds,
            Doubles(Values.select(0, query)),
            Metadata
        );
    }

    /// <summary>One training example's scores for all queries.</summary>
    /// <param name="train">The example's column (not id).</param>
    /// <returns>The column, copied.</returns>
    public ExampleScores ForExample(int train)
    {
        CheckColumn(train);
        using var scope = NewDisposeScope();
        return new ExampleScores(
            $"Training example {TrainIds[train]}, {Metadata.Estimator}",
            QueryIds,
            Doubles(Values.select(1, train)),
            Metadata
        );
    }

    /// <summary>The k training examples that help the query most (the highest scores; they may be negative when few help).</summary>
    /// <param name="query">The query's row.</param>
    /// <param name="k">How many; at most as many as there are.</param>
    /// <returns>The ranking, best first.</returns>
    public RankedExamples Proponents(int query, int k = 10) =>
        RankedExamples.Rank($"Proponents of {Name(query)}", TrainIds, ForQuery(query).Values, k, highest: true);

    /// <summary>The k training examples that harm the query most (the lowest scores).</summary>
    /// <param name="query">The query's row.</param>
    /// <param name="k">How many; at most as many as there are.</param>
    /// <returns>The ranking, worst first.</returns>
    public RankedExamples Opponents(int query, int k = 10) =>
        RankedExamples.Rank($"Opponents of {Name(query)}", TrainIds, ForQuery(query).Values, k, highest: false);

    /// <summary>The row of the query with that id.</summary>
    /// <param name="queryId">The id.</param>
    /// <returns>The row.</returns>
    /// <exception cref="InfluenceException">There is none of that id.</exception>
    public int RowOf(long queryId) =>
        _queryPositions.TryGetValue(queryId, out var row) ? row : throw new InfluenceException($"No query has the id {queryId}.");

    /// <summary>The column of the training example with that id.</summary>
    /// <param name="trainId">The id.</param>
    /// <returns>The column.</returns>
    /// <exception cref="InfluenceException">There is none of that id.</exception>
    public int ColumnOf(long trainId) =>
        _trainPositions.Value.TryGetValue(trainId, out var column)
            ? column
            : throw new InfluenceException($"No training example has the id {trainId}.");

    /// <summary>One score, by ids.</summary>
    /// <param name="queryId">The query's id.</param>
    /// <param name="trainId">The training example's id.</param>
    /// <returns>The score: positive for a proponent.</returns>
    /// <exception cref="InfluenceException">There is no query, or no training example, of that id.</exception>
    public double Of(long queryId, long trainId) => this[RowOf(queryId), ColumnOf(trainId)];

    /// <summary>
    /// Writes the scores: safetensors with ids and metadata (<c>scores</c>, <c>query_ids</c>, <c>train_ids</c>), or the bare
    /// array, without the ids, when the name ends in <c>.npy</c>. Both can be read from Python.
    /// </summary>
    /// <param name="path">The file, ending in <c>.safetensors</c> or <c>.npy</c>.</param>
    /// <exception cref="InfluenceException">Another ending, or it cannot be written; nothing was changed.</exception>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (path.EndsWith(".npy", StringComparison.OrdinalIgnoreCase))
        {
            Npy.Save(path, Values);
            return;
        }

        Safetensors.CheckName(path, "The bare array is written as .npy; SaveTopCsv writes the strongest as CSV.");
        using var scope = NewDisposeScope();
        Safetensors.Save(
            path,
            [("scores", Values), ("query_ids", tensor(QueryIds.ToArray())), ("train_ids", tensor(TrainIds.ToArray()))],
            Metadata.ToStrings()
        );
    }

    /// <summary>
    /// How alike queries are in what influences them: Pearson's correlation of two queries' scores over all training examples,
    /// <code>r[p, q] = sum over z of (s(p, z) - mean s(p)) (s(q, z) - mean s(q)) / (N sd(p) sd(q))</code>
    /// High between queries that need the same procedure and not the same facts, it is the evidence of procedural knowledge in pretraining
    /// data. Cost: 2 Q^2 N operations, memory Q^2 numbers beside a piece of the scores.
    /// </summary>
    /// <remarks>Reference: Ruis et al., "Procedural Knowledge in Pretraining Drives Reasoning in Large Language Models", 2025.</remarks>
    /// <returns><c>[Q, Q]</c>, row by row; NaN for a query whose scores are all the same.</returns>
    public double[,] QueryCorrelations()
    {
        const long NumbersAtOnce = 1 << 22;
        using var scope = NewDisposeScope();
        var (queries, count) = ((int)_values.shape[0], _values.shape[1]);
        var means = _values.mean([1L], keepdim: true, type: ScalarType.Float64); // [Q, 1]
        var moments = zeros([queries, queries], ScalarType.Float64);
        var atOnce = Math.Max(1, NumbersAtOnce / Math.Max(1, queries));
        for (long first = 0; first < count; first += atOnce)
        {
            using var piece = NewDisposeScope();
            var centred = _values.narrow(1, first, Math.Min(atOnce, count - first)).to_type(ScalarType.Float64) - means; // [Q, b]
            moments.add_(centred.mm(centred.t()));
        }

        var products = moments.data<double>().ToArray();
        var found = new double[queries, queries];
        for (var p = 0; p < queries; p++)
        {
            for (var q = 0; q < queries; q++)
            {
                found[p, q] = products[(p * queries) + q] / Math.Sqrt(products[(p * queries) + p]) / Math.Sqrt(products[(q * queries) + q]);
            }
        }

        return found;
    }

    /// <summary>
    /// Reads scores that <see cref="Save"/>, or another tool, wrote as safetensors or <c>.npy</c>: <c>scores [Q, N]</c>, or <c>[N]</c> for
    /// one query, of float16, bfloat16 (both become float32), float32 or float64. Missing ids are 0, 1, 2, ... Of other tensors in the file
    /// nothing is read.
    /// </summary>
    /// <remarks>
    /// What <see cref="Save"/> wrote as safetensors has a checksum and is checked; for everything else
    /// <see cref="ScoreMetadata.Integrity"/> says "unverified".
    /// </remarks>
    /// <param name="path">The file.</param>
    /// <returns>The scores; the caller disposes them.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated, damaged or something else.</exception>
    public static InfluenceScores Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        using var file = ScoreFile.Open(path);
        var values = file.Scores("matrix \"scores\" [queries, train]");
        if (values.dim() is not (1 or 2))
        {
            throw new InfluenceException(
                $"{path} has scores of shape [{string.Join(", ", values.shape)}]; expected [queries, train], or [train] for one query."
            );
        }

        values = values.dim() == 1 ? values.unsqueeze(0) : values;
        return new InfluenceScores(values, file.Ids("query_ids", values.shape[0]), file.Ids("train_ids", values.shape[1]), file.Metadata);
    }

    /// <summary>
    /// Reads some of the scores that <see cref="Save"/>, or <c>ScoreToFile</c>, wrote as safetensors: of a matrix larger than the
    /// memory the rows and columns that are wanted. Missing ids are 0, 1, 2, ...
    /// </summary>
    /// <remarks>A checksum is of the whole matrix, so a part is not checked: <see cref="ScoreMetadata.Integrity"/> says so.</remarks>
    /// <param name="path">The file.</param>
    /// <param name="queryIds">The queries, in the order wanted; null for all.</param>
    /// <param name="trainIds">The training examples, in the order wanted; null for all.</param>
    /// <returns>The scores; the caller disposes them.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated or something else, or holds no scores of such an id.</exception>
    public static InfluenceScores LoadPart(string path, IReadOnlyList<long>? queryIds = null, IReadOnlyList<long>? trainIds = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        using var file = ScoreFile.Open(path);
        var (queries, train) = file.Shape();
        var (allQueries, allTrain) = (file.Ids("query_ids", queries), file.Ids("train_ids", train));
        var rows = Positions("queries", allQueries, queryIds ?? allQueries);
        var columns = trainIds is null ? null : Positions("training examples", allTrain, trainIds);
        return new InfluenceScores(
            file.Part(rows, columns),
            queryIds ?? allQueries,
            trainIds ?? allTrain,
            file.Metadata with
            {
                Integrity = "unverified: only a part of the file was read",
            }
        );

        int[] Positions(string what, IReadOnlyList<long> all, IReadOnlyList<long> wanted)
        {
            var positions = all.Select((id, position) => (id, position)).ToDictionary(pair => pair.id, pair => pair.position);
            var unknown = wanted.Where(id => !positions.ContainsKey(id)).ToList();
            return unknown.Count == 0
                ? [.. wanted.Select(id => positions[id])]
                : throw new InfluenceException($"{path} has no {what} with the ids {InfluenceException.List(unknown)}.");
        }
    }

    /// <summary>Writes each query's k proponents and k opponents as CSV: query_id, kind, rank, train_id, score.</summary>
    /// <param name="path">The file.</param>
    /// <param name="k">How many of each per query.</param>
    /// <exception cref="InfluenceException">It cannot be written; nothing was changed.</exception>
    public void SaveTopCsv(string path, int k = 10)
    {
        Csv.Save(path, ["query_id", "kind", "rank", "train_id", "score"], Rows());

        IEnumerable<IReadOnlyList<object>> Rows() =>
            from q in Enumerable.Range(0, QueryIds.Count)
            from side in new[] { (Kind: "proponent", Ranking: Proponents(q, k)), (Kind: "opponent", Ranking: Opponents(q, k)) }
            from example in side.Ranking
            select (IReadOnlyList<object>)[QueryIds[q], side.Kind, example.Rank, example.Id, example.Score];
    }

    /// <summary>Writes every score as CSV, one line a pair: query_id, train_id, score. For the strongest alone see
    /// <see cref="SaveTopCsv"/>.</summary>
    /// <param name="path">The file.</param>
    /// <param name="describe">From a training example's id to a text, a last column <c>example</c>; null for none.</param>
    /// <exception cref="InfluenceException">It cannot be written; nothing was changed.</exception>
    public void SaveCsv(string path, Func<long, string?>? describe = null)
    {
        var texts = describe is null ? null : TrainIds.Select(id => describe(id) ?? string.Empty).ToArray();
        string[] headers = ["query_id", "train_id", "score", .. texts is null ? Array.Empty<string>() : ["example"]];
        Csv.Save(path, headers, Rows());

        IEnumerable<IReadOnlyList<object>> Rows()
        {
            for (var q = 0; q < QueryIds.Count; q++)
            {
                var row = ForQuery(q).Values;
                for (var n = 0; n < row.Count; n++)
                {
                    yield return texts is null ? [QueryIds[q], TrainIds[n], row[n]] : [QueryIds[q], TrainIds[n], row[n], texts[n]];
                }
            }
        }
    }

    /// <summary>Frees the scores.</summary>
    public void Dispose() => _values.Dispose();

    /// <summary>A table with each query's strongest proponent and opponent.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            $"{Metadata.Estimator}: {QueryIds.Count:N0} queries x {TrainIds.Count:N0} training examples, {Metadata.Sign}",
            ["query", "strongest proponent", "score", "strongest opponent", "its score"],
            [.. Enumerable.Range(0, Math.Min(QueryIds.Count, Table.MaximumRows)).Where(_ => TrainIds.Count > 0).Select(Row)],
            QueryIds.Count
        );

    private IReadOnlyList<object> Row(int query)
    {
        var (best, worst) = (Proponents(query, 1)[0], Opponents(query, 1)[0]);
        return [QueryIds[query], best.Id, best.Score, worst.Id, worst.Score];
    }

    /// <summary>Aggregated queries are one row of id -1.</summary>
    private string Name(int query) =>
        QueryIds[CheckRow(query)] is >= 0 and var id ? $"query {id}"
        : QueryIds.Count == 1 ? "the queries together"
        : $"query {QueryIds[query]}";

    private int CheckRow(int query) =>
        query >= 0 && query < QueryIds.Count
            ? query
            : throw new InfluenceException($"There are {QueryIds.Count} queries; there is no row {query}. For an id write RowOf(id).");

    private void CheckColumn(int train)
    {
        if (train < 0 || train >= TrainIds.Count)
        {
            throw new InfluenceException($"There are {TrainIds.Count} training examples; there is no column {train}.");
        }
    }

    private static double[] Doubles(Tensor values) => values.to_type(ScalarType.Float64).contiguous().data<double>().ToArray();
}
