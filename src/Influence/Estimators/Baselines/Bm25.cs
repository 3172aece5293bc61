using System.Text.RegularExpressions;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// BM25, the search engines' score of shared words: over the distinct words t of a query, <c>sum of idf(t) tf (k1 + 1) / (tf + k1 (1 - b +
/// b |d| / avgdl))</c> with <c>idf = ln(1 + (N - n + 0.5) / (n + 0.5))</c>; tf counts the word in the training example d, n the examples
/// that have it, |d| is the example's length in words and avgdl the mean length.
/// </summary>
/// <remarks>
/// Robertson and Zaragoza, 2009; the idf is Lucene's, never negative. A baseline without a model: the task and the examples' tensors are
/// not read, their ids are what counts. Implementations differ in words, idf and repeated query words, so that figures of other tools need
/// not be these. Cost: the length of the texts, and for each query the number of examples that share a word; memory of all words' counts.
/// Scores are float64, at least 0.
/// </remarks>
/// <example>
/// <code>
/// using var scores = new Bm25(id => trainTexts[(int)id], id => queryTexts[(int)id]).Score(task, train, queries);
/// </code>
/// </example>
public sealed partial record Bm25 : IPairEstimator
{
    private readonly Func<long, string> _trainText;
    private readonly Func<long, string> _queryText;

    /// <summary>Takes the texts.</summary>
    /// <param name="trainText">From a training example's id to its text.</param>
    /// <param name="queryText">From a query's id to its text.</param>
    public Bm25(Func<long, string> trainText, Func<long, string> queryText)
    {
        ArgumentNullException.ThrowIfNull(trainText);
        ArgumentNullException.ThrowIfNull(queryText);
        (_trainText, _queryText) = (trainText, queryText);
    }

    /// <summary>How much a word's second and further appearances count; 0: nothing.</summary>
    /// <value>1.5.</value>
    public double K1
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1.5;

    /// <summary>How far long examples are held back, 0 (not at all) to 1.</summary>
    /// <value>0.75.</value>
    public double B
    {
        get;
        init => field = Check.Share(value);
    } = 0.75;

    /// <summary>From a text to its words.</summary>
    /// <value>Runs of two or more letters, digits and underscores, in lower case.</value>
    public Func<string, IEnumerable<string>> Words
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    } = text => Word().Matches(text.ToLowerInvariant()).Select(match => match.Value);

    /// <inheritdoc/>
    /// <exception cref="InfluenceException">Bad input, or an example without a text (an empty one is a text).</exception>
    public ScoreMetadata ScoreInto(
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(sink);
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        sink.Begin(queries.Ids, train.Ids, ScalarType.Float64);
        using var reporter = new ProgressReporter(progress, "words", 1, (long)train.Count + queries.Count, cancellationToken);
        var (postings, lengths) = Index(train, reporter);
        var mean = lengths.Average();
        for (var q = 0; q < queries.Count; q++)
        {
            var scores = new double[train.Count];
            foreach (var word in Words(Text(_queryText, queries.Ids[q], "query")).Distinct())
            {
                if (!postings.TryGetValue(word, out var found))
                {
                    continue;
                }

                var idf = Math.Log(1 + ((train.Count - found.Count + 0.5) / (found.Count + 0.5)));
                foreach (var (example, times) in found)
                {
                    scores[example] += idf * times * (K1 + 1) / (times + (K1 * (1 - B + (B * lengths[example] / mean))));
                }
            }

            using (NewDisposeScope())
            {
                sink.Add(q, 0, tensor(scores).unsqueeze(0));
            }

            reporter.AddOrCancel(1);
        }

        return new ScoreMetadata
        {
            Estimator = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"BM25 (k1 = {K1}, b = {B})"),
            Sign = "high = many rare words are shared; it says nothing of help or harm",
            Unit = "BM25",
            Layers = "none",
            Coverage = 0,
        };
    }

    [GeneratedRegex(@"\w\w+", RegexOptions.CultureInvariant)]
    private static partial Regex Word();

    private static string Text(Func<long, string> text, long id, string role) =>
        text(id)
        ?? throw new InfluenceException($"The {role} with id {id} has no text: the delegate gave null. An empty text is \"\".")
        {
            ExampleIds = [id],
        };

    /// <summary>For each word the examples that have it and how often, and every example's length.</summary>
    private (Dictionary<string, List<(int Example, int Times)>> Postings, int[] Lengths) Index(Examples train, ProgressReporter reporter)
    {
        var postings = new Dictionary<string, List<(int Example, int Times)>>(StringComparer.Ordinal);
        var lengths = new int[train.Count];
        for (var i = 0; i < train.Count; i++)
        {
            var counts = new Dictionary<string, int>(StringComparer.Ordinal);
            foreach (var word in Words(Text(_trainText, train.Ids[i], "training example")))
            {
                counts[word] = counts.GetValueOrDefault(word) + 1;
                lengths[i]++;
            }

            foreach (var (word, times) in counts)
            {
                if (!postings.TryGetValue(word, out var found))
                {
                    postings[word] = found = [];
                }

                found.Add((i, times));
            }

            reporter.AddOrCancel(1);
        }

        return (postings, lengths);
    }
}
