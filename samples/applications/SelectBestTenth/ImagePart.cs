using Influence;

namespace SelectBestTenth;

/// <summary>Every strategy on the pool of images.</summary>
internal static class ImagePart
{
    public static void Run(Options options, ConsoleProgress progress, CancellationToken cancellationToken)
    {
        var clock = new StageClock();
        using var pool = SkewedPool.Read(options.Data, options.Images, options.Seed);
        Console.WriteLine(pool);
        clock.Lap("reading");

        // One brief training on everything, wrong labels and all: what is to be learnt about the pool is learnt from it.
        long[] all = [.. Enumerable.Range(0, pool.Count)];
        var weights = all.Select(_ => 1.0).ToArray();
        var stepsPerPass = pool.Count / 50;
        using var model = new ClassifierTrainer
        {
            Steps = 3 * stepsPerPass,
            Seed = Randomness.SeedFor(options.Seed, "model of the pool"),
        }.Train(pool.Images, pool.Labels, all, weights, cancellationToken);
        Console.WriteLine(
            "Model of the pool: accuracy "
                + $"{ClassifierTrainer.Accuracy(model, pool.TestImages, pool.TestLabels, cancellationToken):0.0%} on the target's test "
                + "images"
        );
        clock.Lap("training on the pool");
        using var knowledge = PoolKnowledge.Measure(model, pool, options.Seed, progress, cancellationToken);
        progress.Clear();
        clock.Lap("influence and features");

        // Ten passes over a tenth: as many steps for every pick as one pass over the pool has.
        var contest = new Contest(pool, knowledge, options, stepsPerPass);
        contest.HoldBaselines(cancellationToken);
        foreach (var contender in contest.Contenders())
        {
            contest.Hold(contender, cancellationToken);
        }

        clock.Lap("picks and trainings");
        ConsoleTable.Write(contest.ToTable());
        Console.WriteLine(clock);
    }
}
