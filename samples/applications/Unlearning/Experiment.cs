using System.Diagnostics;
using Influence;
using Influence.Evaluation;
using Influence.Unlearning;

namespace UnlearningSample;

/// <summary>All methods on one set.</summary>
internal sealed class Experiment(Options options, ForgetSet set, CancellationToken cancellationToken)
{
    public string Run(string runs)
    {
        var watch = Stopwatch.StartNew();
        var retrained = Retrained(runs);
        var (first, second) = (retrained.Take(options.Models).ToList(), retrained.Skip(options.Models).ToList());
        Console.WriteLine($"{set.Name}: {retrained.Count} models retrained, {watch.Elapsed.TotalSeconds:0} s");
        List<Subject> subjects = [.. Enumerable.Range(1, options.Models + 1).Select(Train)];
        try
        {
            var test = new UnlearningTest();
            var (choice, others) = (subjects[0], subjects.Skip(1).ToList());
            List<UnlearningTest.Row> rows =
            [
                test.Compare("retrained, other seeds", second, first),
                test.Compare("before", [.. others.Select(subject => subject.Before)], first),
            ];
            var (chosen, refused) = (new List<string>(), new List<string>());
            foreach (
                var contender in Contender
                    .For(set)
                    .Where(c => options.Only is null || c.Name.Contains(options.Only, StringComparison.Ordinal))
            )
            {
                cancellationToken.ThrowIfCancellationRequested();
                var (name, unlearn) = contender
                    .Settings.Select(setting => (Setting: setting, Distance: Tried(setting.Unlearn, choice, first)))
                    .MinBy(tried => tried.Distance)
                    .Setting;
                chosen.Add($"{contender.Name}: {name}");
                try
                {
                    rows.Add(Row(contender, unlearn, others, test, first));
                    Console.WriteLine($"{contender.Name} ({name}), {watch.Elapsed.TotalSeconds:0} s");
                }
                catch (InfluenceException exception)
                {
                    // Chosen on one model, it leads nowhere on another: that is a result too.
                    refused.Add($"{contender.Name}: {exception.Message}");
                    Console.WriteLine($"{contender.Name} ({name}) is refused on another model: {exception.Message}");
                }
            }

            Console.WriteLine(UnlearningTest.Row.Table($"Forget {set.Name}", rows));
            return Report.Section(set, rows, chosen, refused, watch.Elapsed);
        }
        finally
        {
            subjects.ForEach(subject => subject.Dispose());
        }
    }

    private UnlearningTest.Row Row(
        Contender contender,
        Func<Subject, UnlearningMethod.Result> unlearn,
        IReadOnlyList<Subject> subjects,
        UnlearningTest test,
        IReadOnlyList<UnlearningTest.ModelLosses> retrained
    )
    {
        var (losses, steps, times) = (new List<UnlearningTest.ModelLosses>(), new List<int?>(), new List<TimeSpan>());
        foreach (var subject in subjects)
        {
            var fit = contender.NeedsCurvature ? subject.Curvature().Time : TimeSpan.Zero;
            var clock = Stopwatch.StartNew();
            using var weights = unlearn(subject);
            times.Add(clock.Elapsed + fit);
            Unlearned.At(
                subject.Model,
                weights,
                () =>
                {
                    losses.Add(subject.Measure());
                    steps.Add(subject.Relearn(cancellationToken));
                }
            );
        }

        return test.Compare(contender.Name, losses, retrained, steps, times);
    }

    /// <summary>
    /// How far a setting leaves the choice's model from the retrained ones: the root mean square over forgotten, kept and unseen examples
    /// of the mean log loss difference; infinite where it is refused.
    /// </summary>
    private static double Tried(
        Func<Subject, UnlearningMethod.Result> unlearn,
        Subject subject,
        IReadOnlyList<UnlearningTest.ModelLosses> retrained
    )
    {
        try
        {
            using var weights = unlearn(subject);
            var distance = double.PositiveInfinity;
            Unlearned.At(subject.Model, weights, () => distance = Distance(subject.Measure(), retrained));
            return distance;
        }
        catch (InfluenceException)
        {
            return double.PositiveInfinity;
        }
    }

    private static double Distance(UnlearningTest.ModelLosses found, IReadOnlyList<UnlearningTest.ModelLosses> retrained)
    {
        double Part(Func<UnlearningTest.ModelLosses, IReadOnlyList<double>> of) =>
            Math.Log(of(found).Average() / retrained.Average(model => of(model).Average()));
        return Math.Sqrt(new[] { Part(m => m.Forget), Part(m => m.Keep), Part(m => m.Test) }.Average(d => d * d));
    }

    private Subject Train(int seed) => new(set, set.TrainedOn(set.TrainIds, seed, cancellationToken));

    /// <summary>Models that never saw the examples, of seeds of their own: those that methods are compared with, and as many again for the
    /// noise between them.</summary>
    private List<UnlearningTest.ModelLosses> Retrained(string folder)
    {
        long[] test = [.. set.TestExamples.Ids],
            peers = [.. set.PeerExamples.Ids];
        long[] queries = [.. set.Forget, .. set.Keep, .. test, .. peers];
        var retraining = new Retraining(folder)
        {
            Seeds = [.. Enumerable.Range(101, 2 * options.Models).Select(seed => (long)seed)],
            Settings = set.RetrainingSettings,
        };
        var subsets = Subsets.Of(set.TrainIds, ("without", set.TrainIds.Except(set.Forget)));
        var runs = retraining.Run(
            subsets,
            queries,
            job =>
            {
                using var subject = new Subject(set, set.TrainedOn(job.Ids, (int)job.Seed, job.CancellationToken));
                return [.. subject.Before.Forget, .. subject.Before.Keep, .. subject.Before.Test, .. subject.Before.Peers];
            },
            cancellationToken: cancellationToken
        );
        return
        [
            .. Enumerable
                .Range(0, runs.Count)
                .Select(run => UnlearningTest.ModelLosses.FromRun(runs, run, set.Forget, set.Keep, test, peers)),
        ];
    }
}
