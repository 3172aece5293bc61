using System.Diagnostics;
using Influence.Distributed;
using Influence.Formats;
using Microsoft.Extensions.Logging;

namespace Influence.Evaluation;

/// <summary>
/// Trains again and again on subsets of the training examples, and keeps what each model measures on the queries: the truth
/// that scores are judged by. Each run is recorded as it finishes.
/// </summary>
/// <remarks>
/// The folder is all that a later call needs: it goes on where the last one ended, however that ended (at most the run in
/// progress is lost). Several processes may share a folder, on one machine or on several with a shared
/// disk: each takes the next run that nobody is at, and the runs of a process that died are taken over. The protocol is
/// that of Park et al., 2023 (section 2): draw subsets, train on each with several seeds, keep the mean measurement.
/// Keep the number of epochs or the number of steps fixed over subsets, and say in <see cref="Settings"/> which.
/// </remarks>
public sealed partial record Retraining
{
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(200);

    private readonly Work? _work;

    /// <summary>Takes the folder.</summary>
    /// <param name="folder">Where the runs are kept; made when missing.</param>
    public Retraining(string folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        Folder = folder;
    }

    /// <summary>Takes the folder and this process's place among those that share it: it begins at its own share of the runs, and its rank
    /// is its alone.</summary>
    /// <param name="work">The folder, the rank, and <see cref="Work.StaleAfter"/>.</param>
    public Retraining(Work work)
    {
        ArgumentNullException.ThrowIfNull(work);
        (_work, Folder, StaleAfter, Logger) = (work, work.Folder, work.StaleAfter, work.Logger);
    }

    /// <summary>The folder.</summary>
    public string Folder { get; }

    /// <summary>One training of each subset for each seed. Two or more let <see cref="Lds"/> tell the noise ceiling.</summary>
    /// <value>0: one.</value>
    public IReadOnlyList<long> Seeds
    {
        get;
        init =>
            field =
                value is { Count: > 0 } && value.Distinct().Count() == value.Count
                    ? [.. value]
                    : throw new InfluenceException("Seeds holds at least one seed, none twice: Seeds = [0, 1, 2].");
    } = [0];

    /// <summary>
    /// Everything else that the result depends on, in your words: model, epochs, learning rate, version of the data. A folder
    /// with other settings is refused.
    /// </summary>
    /// <value>Empty.</value>
    public string Settings
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    } = string.Empty;

    /// <summary>Whether the measurement is a reward (log-likelihood, margin, accuracy). It is then turned into a loss: its
    /// negative.</summary>
    /// <value>False: lower is better.</value>
    public bool HigherIsBetter { get; init; }

    /// <summary>After how long without a sign of life a run of another machine's process is taken over.</summary>
    /// <value>Two minutes.</value>
    public TimeSpan StaleAfter
    {
        get;
        init => field = value > TimeSpan.Zero ? value : throw new InfluenceException($"StaleAfter is a time above zero, not {value}.");
    } = TimeSpan.FromMinutes(2);

    /// <summary>At how many failed runs the call gives up; before, it goes on with the other runs.</summary>
    /// <value>10.</value>
    public int MaximumFailures
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 10;

    /// <summary>Where each run is told.</summary>
    /// <value>None.</value>
    public ILogger? Logger { get; init; }

    /// <summary>Does the runs that the folder lacks, and waits for those that other processes are at.</summary>
    /// <param name="subsets">What to train on.</param>
    /// <param name="queryIds">The queries' ids, as the scores have them.</param>
    /// <param name="train">
    /// Trains a model on <see cref="Retraining.Job.Ids"/> with <see cref="Retraining.Job.Seed"/>, and returns its measurement of each
    /// query, in the order of <paramref name="queryIds"/>; lower is better unless <see cref="HigherIsBetter"/> says otherwise.
    /// </param>
    /// <param name="progress">Told after each run.</param>
    /// <param name="cancellationToken">Checked before each run, and handed to the training function.</param>
    /// <returns>All runs.</returns>
    /// <exception cref="InfluenceException">
    /// The folder is another set-up's or cannot be written; or runs failed (which, and why): the others are recorded, and the
    /// next call tries those again.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; finished runs are recorded.</exception>
    public Result Run(
        Subsets subsets,
        IReadOnlyList<long> queryIds,
        Func<Job, IReadOnlyList<double>> train,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(subsets);
        ArgumentNullException.ThrowIfNull(queryIds);
        ArgumentNullException.ThrowIfNull(train);
        if (queryIds.Count == 0 || queryIds.Distinct().Count() != queryIds.Count)
        {
            throw new InfluenceException(
                $"Query ids are needed, no id twice; found {queryIds.Count} ids, {queryIds.Distinct().Count()} different."
            );
        }

        cancellationToken.ThrowIfCancellationRequested();
        var manifest = RetrainingManifest.Of(subsets, queryIds, Seeds, Settings, HigherIsBetter);
        var folder = RetrainingFolder.Open(Folder, manifest);
        using var member = _work is null ? null : WorkMember.Join(_work with { StaleAfter = StaleAfter }, cancellationToken);
        int[] order = [.. manifest.Order()];
        var start = _work is null ? 0 : (int)((long)order.Length * _work.Rank / _work.Count);
        order = [.. order[start..], .. order[..start]];
        var clock = Stopwatch.StartNew();
        var finished = new HashSet<int>();
        var failures = new SortedDictionary<int, Exception>();
        var told = false;
        while (true)
        {
            var idle = true;
            foreach (var run in order)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (!finished.Contains(run) && !failures.ContainsKey(run) && (IsRecorded(folder, run) || Do(run)))
                {
                    idle = false;
                    if (!failures.ContainsKey(run))
                    {
                        finished.Add(run);
                        progress?.Report(new InfluenceProgress("retraining", finished.Count, manifest.RunCount, clock.Elapsed));
                    }
                }
            }

            if (finished.Count + failures.Count == manifest.RunCount)
            {
                return failures.Count == 0 ? Result.Load(Folder) : throw Failed(manifest, failures, finished.Count);
            }

            if (idle)
            {
                if (!told)
                {
                    Log.RetrainingWaits(Logger, manifest.RunCount - finished.Count - failures.Count, StaleAfter.TotalSeconds);
                    told = true;
                }

                cancellationToken.WaitHandle.WaitOne(s_poll);
            }
        }

        // False when another process is at it.
        bool Do(int run)
        {
            using var claim = WorkClaim.TryTake(folder.ClaimPath(run), StaleAfter);
            if (claim is null)
            {
                return false;
            }

            // Another process may have finished it between the look and the claim.
            if (folder.Read(run).Values is not null)
            {
                return true;
            }

            var (subset, seed) = manifest.RunOf(run);
            var watch = Stopwatch.StartNew();
            try
            {
                double[] values = [.. train(new Job(run, subsets[subset], seed, cancellationToken))];
                if (values.Length != queryIds.Count)
                {
                    throw new InfluenceException(
                        $"The training function returned {values.Length} values; expected one for each of the "
                            + $"{queryIds.Count} queries."
                    );
                }

                folder.Write(run, values, watch.Elapsed);
                Log.Retrained(Logger, run, subsets[subset].Name, seed, watch.Elapsed.TotalSeconds);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                throw;
            }
            catch (Exception exception)
            {
                failures.Add(run, exception);
                Log.RetrainingFailed(Logger, run, exception.Message);
                if (failures.Count >= MaximumFailures)
                {
                    throw Failed(manifest, failures, finished.Count);
                }
            }

            return true;
        }
    }

    private bool IsRecorded(RetrainingFolder folder, int run)
    {
        var (values, problem) = folder.Read(run);
        if (problem is not null)
        {
            Log.RetrainingDamaged(Logger, run, problem);
        }

        return values is not null;
    }

    private InfluenceException Failed(RetrainingManifest manifest, SortedDictionary<int, Exception> failures, int finished)
    {
        var lines = failures
            .Take(10)
            .Select(f =>
                $"  run {f.Key} ({manifest.SubsetNames[manifest.RunOf(f.Key).Subset]}, seed {manifest.RunOf(f.Key).Seed}): "
                + $"{f.Value.GetType().Name}: {f.Value.Message}"
            );
        return new InfluenceException(
            $"{failures.Count} of {manifest.RunCount} runs "
                + $"failed:{Environment.NewLine}{string.Join(Environment.NewLine, lines)}{Environment.NewLine}"
                + $"{finished} runs are recorded in {Folder}; the next call tries the failed ones again.",
            failures.Count == 1 ? failures.Values.First() : new AggregateException(failures.Values)
        );
    }
}
