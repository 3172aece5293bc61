using System.Diagnostics;
using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Selection;

namespace SelectBestTenth;

/// <summary>
/// Quad from end to end: passages in clusters, the influence on a target measured by the library only where an arm is
/// pulled, over the projections of attention only; beside it, the choice after measuring everything.
/// </summary>
internal static class TextPart
{
    private const string TargetDomain = "Spanish";
    private const int TargetPassages = 20;
    private const int HeldOut = 60;
    private const int BatchSize = 20;

    /// <summary>The share of the pool that Quad may measure.</summary>
    private const double Measured = 0.17;

    public static void Run(Options options, ConsoleProgress progress, CancellationToken cancellationToken)
    {
        var clock = new StageClock();
        var corpus = Corpus.Read(FiveDomains.All, options.Passages, options.Seed, HeldOut);
        var domain = corpus.Domains.Index().Single(d => d.Item.Name == TargetDomain).Index;
        var ofTarget = corpus.HeldOut.Where(passage => passage.Domain == domain).ToList();
        List<Passage> passages = [.. Enumerable.Repeat(corpus.Train, options.Repeated).SelectMany(train => train)];
        using var pool = new PassageTensors(passages);
        using var target = new PassageTensors([.. ofTarget.Take(TargetPassages)]);
        using var test = new PassageTensors([.. ofTarget.Skip(TargetPassages)]);
        Console.WriteLine(
            $"Pool: {passages.Count:N0} passages of {corpus.Domains.Count} domains. Target: {TargetPassages} passages "
                + $"of {TargetDomain}. Test: {HeldOut - TargetPassages} others."
        );
        clock.Lap("reading");

        long[] all = [.. Enumerable.Range(0, passages.Count)];
        using var model = new DecoderTrainer
        {
            Steps = corpus.Train.Count / 8,
            Seed = Randomness.SeedFor(options.Seed, "model of the pool"),
        }.Train(pool, all, cancellationToken);
        clock.Lap("training on the pool");

        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b["input"]), b["target"], b["predicted"]),
            Layers = LayerSelection.Attention,
        };
        var (train, queries) = (pool.ToExamples(BatchSize), target.ToExamples(TargetPassages));
        // Curvature from a tenth: with a pass over everything, everything could as well be scored.
        var drawn = all.ToArray();
        Randomness.For(options.Seed, "passages for the curvature").Shuffle(drawn);
        progress.Purpose = "curvature";
        using var curvature = Ekfac.Fit(
            task,
            train.Only(drawn.Take(all.Length / 10)),
            new Ekfac.Options { Seed = options.Seed },
            progress,
            cancellationToken
        );
        var influence = new InfluenceFunction(curvature) { Aggregation = InfluenceFunction.QueryAggregation.Mean };
        clock.Lap("EK-FAC of a tenth");

        using var features = PassageFeatures.Of(model, pool, cancellationToken);
        using var candidates = new SelectionPool(all) { Features = features };

        // Code that runs for the first time is slower: both ways are gone once, over a few passages.
        using (var few = influence.Prepare(task, train, queries, cancellationToken))
        {
            few.Score(all[..(2 * BatchSize)]);
        }

        influence.Score(task, train.Only(all[..(2 * BatchSize)]), queries, null, cancellationToken).Dispose();

        // A pull of five arms fills a batch.
        var (watch, cpu) = (Stopwatch.StartNew(), Environment.CpuUsage.TotalTime);
        var oracle = influence.Prepare(task, train, queries, cancellationToken);
        var measuring = Environment.CpuUsage.TotalTime - cpu;
        var quad = new Quad
        {
            Oracle = ids =>
            {
                var before = Environment.CpuUsage.TotalTime;
                var found = oracle.Score(ids);
                measuring += Environment.CpuUsage.TotalTime - before;
                return found;
            },
            Clusters = 40 * (int)Math.Ceiling(Math.Sqrt(options.Repeated)),
            ArmsPerRound = 5,
            Probes = 4,
            TakePerPull = 8 * options.Repeated,
            MaximumMeasured = Measured,
            MaximumRounds = all.Length,
            Seed = options.Seed,
        };
        progress.Purpose = "Quad";
        SelectedExamples byQuad;
        using (oracle)
        {
            byQuad = quad.Select(candidates, SelectionBudget.Fraction(Options.Share), progress, cancellationToken);
        }

        var (quadSeconds, quadCpu) = (watch.Elapsed.TotalSeconds, (Environment.CpuUsage.TotalTime - cpu).TotalSeconds);
        clock.Lap("features and Quad");

        watch.Restart();
        cpu = Environment.CpuUsage.TotalTime;
        progress.Purpose = "everything";
        using var scores = influence.Score(task, train, queries, progress, cancellationToken);
        var byScore = new TopK().Select(scores, SelectionBudget.Fraction(Options.Share));
        var (allSeconds, allCpu) = (watch.Elapsed.TotalSeconds, (Environment.CpuUsage.TotalTime - cpu).TotalSeconds);
        progress.Clear();
        clock.Lap("measuring everything");

        Console.WriteLine(
            $"Processor time: Quad {quadCpu:0.00} s, of which measuring {oracle.Scored:N0} passages {measuring.TotalSeconds:0.00} s; "
                + $"measuring all {allCpu:0.00} s. {(double)oracle.Scored / all.Length:0.0%} of the passages for "
                + $"{measuring.TotalSeconds / allCpu:0.0%} of the time, {quadCpu / allCpu:0.0%} with Quad's own work"
        );
        foreach (var note in byQuad.Notes)
        {
            Console.WriteLine($"  Quad: {note}");
        }

        var truth = scores.ForQuery(0).Values;
        var atRandom = new RandomSelection { Seed = options.Seed }.Select(
            candidates,
            SelectionBudget.Fraction(Options.Share),
            null,
            cancellationToken
        );
        List<IReadOnlyList<string>> rows =
        [
            ["pick", "measured", "seconds", "processor s", "mean influence", TargetDomain, "bits per byte", "spread"],
        ];
        foreach (
            var (name, ids, share, seconds, work) in new (string, IReadOnlyList<long>, double, double, double)[]
            {
                ("everything, as many steps", all, 0, 0, 0),
                ("random", atRandom.Ids, 0, 0, 0),
                ("Quad", byQuad.Ids, (double)oracle.Scored / all.Length, quadSeconds, quadCpu),
                ("top-k of everything", byScore.Ids, 1, allSeconds, allCpu),
            }
        )
        {
            var bits = Enumerable
                .Range(0, options.Seeds)
                .Select(seed =>
                {
                    using var trained = new DecoderTrainer
                    {
                        Steps = all.Length / 10,
                        Seed = Randomness.SeedFor(options.Seed, $"training {seed}"),
                    }.Train(pool, ids, cancellationToken);
                    return DecoderTrainer.BitsPerByte(trained, test);
                })
                .ToList();
            rows.Add([
                name,
                $"{share:0.0%}",
                $"{seconds:0.0}",
                $"{work:0.0}",
                $"{ids.Average(id => truth[(int)id]):0.000}",
                $"{ids.Average(id => passages[(int)id].Domain == domain ? 1.0 : 0):0%}",
                bits.Count == 0 ? "-" : $"{bits.Average():0.00}",
                bits.Count == 0 ? "-" : $"{bits.Max() - bits.Min():0.00}",
            ]);
        }

        clock.Lap("trainings");
        ConsoleTable.Write(rows);
        Console.WriteLine(clock);
    }
}
