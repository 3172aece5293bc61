using System.Globalization;
using DataMixture;

return CommandLine.Run<Options>(
    args,
    (options, cancellationToken) =>
    {
        var clock = new StageClock();
        using var progress = new ConsoleProgress();

        // Read the texts.
        var corpus = options.Corpus is { } folder
            ? MixtureCorpus.Read(Domain.OfFolder(folder), Domain.OfFolder(Path.Combine(folder, "targets")), options.Seed)
            : MixtureCorpus.Read(DebianDomains.Training, DebianDomains.Targets, options.Seed);
        ConsoleTable.Write(corpus.ToTable());
        clock.Lap("reading");

        // Every method with every seed, seed by seed; within a seed all begin with the same weights.
        var trainer = new Trainer { Steps = options.Steps };
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"Each run trains a decoder of {TrainingRun.Parameters():N0} parameters on {trainer.Tokens:N0} tokens, a token a byte."
            )
        );
        var methods = Methods.All(corpus, trainer.Tokens, options.Quick, options.Searches);
        var runs = new List<TrainingRun>();
        foreach (var seed in Enumerable.Range(options.Seed, options.Seeds))
        {
            foreach (var method in methods)
            {
                progress.Purpose = $"{method.Name}, seed {seed}";
                var run = TrainingRun.Of(method, corpus, trainer, seed, progress, cancellationToken);
                runs.Add(run);
                progress.Clear();
                Console.WriteLine(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"{progress.Purpose}: {run.BitsPerByte.Average():0.000} bits per byte, training {run.Training.TotalSeconds:0.0} s, "
                            + $"measuring {run.Measuring.TotalSeconds:0.0} s"
                    )
                );
            }

            clock.Lap($"seed {seed}");
        }

        // Report.
        var comparison = new Comparison(corpus, runs);
        Show(comparison.Losses());
        Show(comparison.Mixtures());
        foreach (var run in runs.Where(run => run.Seed == options.Seed && run.Method.Name == "TiKMiX-D"))
        {
            Show(Comparison.Measurements(run));
        }

        Console.WriteLine();
        foreach (var run in runs.Where(run => run.History.Count > 0))
        {
            Console.WriteLine(Comparison.Moves(run));
        }

        Console.WriteLine(clock);

        static void Show(IEnumerable<IReadOnlyList<string>> table)
        {
            ConsoleTable.Write(table);
        }
    }
);
