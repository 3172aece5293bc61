using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>A query that is taken and preconditioned once.</summary>
public sealed partial record InfluenceFunction
{
    /// <summary>
    /// Takes the queries' mean (or summed) gradient and preconditions it, once: <see cref="PreparedQuery.Score"/> then scores any training
    /// examples at the cost of one forward and backward pass over these. It is what an oracle of <c>Quad</c> is made of, which asks for a
    /// few examples at a time; <see cref="PairEstimators.Score"/> would read all queries anew at each call.
    /// </summary>
    /// <param name="task">The model at the weights of the fit, and its loss. It is in use until the result is disposed.</param>
    /// <param name="train">All training examples that may be asked for.</param>
    /// <param name="queries">Q queries; their measurement is explained. <see cref="Aggregation"/> says whether by mean or sum; of one query
    /// it may be left out.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The prepared query; the caller disposes it, and the model is then as before.</returns>
    /// <exception cref="InfluenceException">Bad input; several queries without an aggregation; or a setting that needs all training
    /// examples at once.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public PreparedQuery Prepare(InfluenceTask task, Examples train, Examples queries, CancellationToken cancellationToken = default)
    {
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        CheckCheckpoint(task);
        InfluenceException.ThrowIfAny([
            .. Aggregation == QueryAggregation.None && queries.Count > 1
                ?
                [
                    $"A prepared query is one gradient, and there are {queries.Count} queries. Write Aggregation = "
                        + "InfluenceFunction.QueryAggregation.Mean for the mean over them.",
                ]
                : Array.Empty<string>(),
            .. Normalization == ScoreNormalization.Leverage
                ? ["Leverages are of all training examples at once, and a prepared query is asked for a few. Leave Normalization at None."]
                : Array.Empty<string>(),
            .. Work is not null ? ["A prepared query is kept in memory, not in units. Leave Work out."] : Array.Empty<string>(),
        ]);
        using var here = ModelInUse.Here();
        var held = new List<IDisposable>();
        try
        {
            using var scope = NewDisposeScope();
            using var reporter = new ProgressReporter(null, "preparing", 1, queries.Count, cancellationToken);
            var session = GradientSession.Open(task, train, queries, memory: MemoryBudget);
            held.Add(session);
            var inverse = _preconditioner.Prepare(session, Damping, 0, cancellationToken);
            held.Add(inverse);
            var products = Products(session, inverse);
            var sum = products.Prepare(train, queries, SumWeight(queries), reporter);
            held.Add(sum);
            var claim = ModelInUse.Claim(task.Model);
            held.Add(claim);
            claim.Hold(task.Model, "a prepared query");
            return new PreparedQuery(held, products, sum, train, Metadata(task, session, inverse));
        }
        catch
        {
            Give(held);
            throw;
        }
    }

    private static void Give(List<IDisposable> held)
    {
        for (var i = held.Count - 1; i >= 0; i--)
        {
            held[i].Dispose();
        }

        held.Clear();
    }

    /// <summary>
    /// The preconditioned gradient of some queries, kept between calls: <c>var oracle = influence.Prepare(task, train, reference)</c>, then
    /// <c>new Quad { Oracle = oracle.Score }</c>. Until it is disposed the model is hooked and frozen, no other call begins on it, and its
    /// weights stay as they are.
    /// </summary>
    public sealed class PreparedQuery : IDisposable
    {
        private readonly List<IDisposable> _held;
        private readonly GradientProducts _products;
        private readonly PreparedSum _sum;
        private readonly Examples _train;
        private readonly int _thread = Environment.CurrentManagedThreadId;
        private Dictionary<long, int>? _positions;

        internal PreparedQuery(
            List<IDisposable> held,
            GradientProducts products,
            PreparedSum sum,
            Examples train,
            ScoreMetadata metadata
        ) => (_held, _products, _sum, _train, Metadata) = (held, products, sum, train, metadata);

        /// <summary>How scores are made.</summary>
        public ScoreMetadata Metadata { get; }

        /// <summary>How many examples were scored so far.</summary>
        public long Scored { get; private set; }

        /// <summary>Scores some training examples: one forward and backward pass over them.</summary>
        /// <param name="ids">Their ids, each once, in any order.</param>
        /// <returns>One score for each id, in their order: what <see cref="PairEstimators.Score"/> gives them.</returns>
        /// <exception cref="InfluenceException">An unknown id or one that repeats, another thread than that of the preparation, or weights
        /// that changed since.</exception>
        /// <exception cref="ObjectDisposedException">It was disposed.</exception>
        public IReadOnlyList<double> Score(IReadOnlyList<long> ids)
        {
            ArgumentNullException.ThrowIfNull(ids);
            ObjectDisposedException.ThrowIf(_held.Count == 0, this);
            if (Environment.CurrentManagedThreadId != _thread)
            {
                throw new InfluenceException(
                    "A prepared query belongs to the thread that prepared it; prepare another one, over a model of its own, on this thread."
                );
            }

            if (ids.Count == 0)
            {
                return [];
            }

            if (ids.Distinct().Count() != ids.Count)
            {
                throw new InfluenceException("Each id is asked for once; found some that repeat.");
            }

            // A pull asks for a few of many: nothing of it goes through all of them.
            _positions ??= _train.Ids.Index().ToDictionary(pair => pair.Item, pair => pair.Index);
            long[] unknown = [.. ids.Where(id => !_positions.ContainsKey(id))];
            if (unknown.Length > 0)
            {
                throw new InfluenceException($"No example has the id {InfluenceException.List(unknown)}.");
            }

            var examples = _train.Packed([.. ids.Select(id => _positions[id]).Order()]);
            var found = new Dictionary<long, double>(ids.Count);
            using var scope = NewDisposeScope();
            using var reporter = new ProgressReporter(null, "scoring", 1, ids.Count, CancellationToken.None);
            _products.Meet(
                (first, values) =>
                {
                    var row = values.to_type(ScalarType.Float64).reshape(-1).data<double>().ToArray();
                    for (var i = 0; i < row.Length; i++)
                    {
                        found[examples.Ids[(int)first + i]] = row[i];
                    }
                },
                _sum,
                examples,
                reporter
            );
            Scored += ids.Count;
            return [.. ids.Select(id => found[id])];
        }

        /// <summary>Gives the model back as it was found.</summary>
        public void Dispose()
        {
            using var here = ModelInUse.Here();
            Give(_held);
        }
    }
}
