using System.Diagnostics;
using Influence;
using Influence.Training;
using TrainingLoop;

return CommandLine.Run<Options>(
    args,
    (options, cancellationToken) =>
    {
        OutputFolder.Prepare(options.Output);
        using var progress = new ConsoleProgress();
        if (options.Part != "texts")
        {
            using var images = ImageJob.Create(options);
            Run(images, options, progress, cancellationToken);
        }

        if (options.Part != "images")
        {
            using var texts = TextJob.Create(options);
            Run(texts, options, progress, cancellationToken);
        }
    }
);

static void Run(NoisyJob job, Options options, ConsoleProgress progress, CancellationToken cancellationToken)
{
    Console.WriteLine($"\n{job.Description}.");
    Console.WriteLine(
        $"""
        Each run trains on {job.Steps
            * job.BatchSize:N0} examples in {job.Steps} steps of {job.BatchSize}, at a constant rate after a short rise; within a seed all begin with the same
        weights. Online selection looks at twice as many. It, the recorders and the mixture read {job.ValidationSize} clean examples in each
        step; plain and reweighted runs never see these. "In plain's time" is after as many steps as fit into the plain run's time, by the
        median ratio of a step to a plain step. Spreads are standard deviations over seeds.
        """
    );
    var clock = new StageClock();
    var runs = new List<TrainingRun>();
    foreach (var seed in Enumerable.Range(options.Seed, options.Seeds))
    {
        // Step by step in turn, so that what else the machine does hits them alike and steps can be compared.
        var trainers = new List<Trainer>();
        try
        {
            foreach (var method in Enum.GetValues<Method>().Where(method => method != Method.Mixed || job.Sources is not null))
            {
                trainers.Add(new Trainer(job, method, seed));
            }

            progress.Purpose = $"{job.Name}, seed {seed}";
            var watch = Stopwatch.StartNew();
            for (var step = 0; step < job.Steps; step++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                trainers.ForEach(trainer => trainer.Step());
                progress.Report(new InfluenceProgress("training", step + 1, job.Steps, watch.Elapsed));
            }

            runs.AddRange(trainers.Select(trainer => trainer.Result()));
        }
        finally
        {
            trainers.ForEach(trainer => trainer.Dispose());
        }

        progress.Clear();
        clock.Lap($"seed {seed}");
    }

    var comparison = new Comparison(job, runs);
    ConsoleTable.Write(comparison.Losses());
    ConsoleTable.Write(comparison.Findings());
    Console.WriteLine();
    Console.WriteLine(comparison.Values());

    var map = Path.Combine(options.Output, $"{job.Name}.svg");
    new DataMap { Title = $"Data map: {job.Name}", Seed = options.Seed }
        .Draw(runs.First(run => run.Findings is not null).Findings!.Map)
        .Save(map);
    Console.WriteLine($"Data map: {Path.GetFullPath(map)}");
    Console.WriteLine(clock);
}
