using Gpt2;
using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;

return CommandLine.Run<Options>(
    args,
    (options, cancellationToken) =>
    {
        const int PromptBytes = 24;
        var clock = new StageClock();
        using var progress = new ConsoleProgress();

        // Three domains to train on, two to adapt to.
        var corpus = Corpus.Read(FiveDomains.All, options.Passages, options.Seed);
        ConsoleTable.Write(corpus.ToTable());
        var passages = corpus.Train.Where(p => p.Domain < 3).ToList();
        using var trainTensors = new PassageTensors(passages);
        var train = trainTensors.ToExamples(batchSize: 20);
        clock.Lap("reading");

        using var trained = Gpt2Model.Create(Gpt2Settings.Bytes, options.Seed);
        var losses = new Trainer
        {
            PeakRate = 2e-3,
            Epochs = options.Epochs,
            Seed = options.Seed,
        }.Train(trained, trainTensors, progress, cancellationToken);
        progress.Clear();
        Console.WriteLine(
            $"GPT-2 of {trained.ParameterCount:N0} parameters; loss per byte in each epoch: "
                + $"{string.Join(", ", losses.Select(l => $"{l:0.000}"))} nats."
        );
        clock.Lap("training");

        // Saved as Hugging Face saves large models, in several files with an index, and loaded strictly into another model.
        using var temporary = new TemporaryFolder();
        using var model = Shards.SaveAndLoad(trained, options.Output ?? temporary.FullPath, options.Seed + 1, trainTensors.Input[..8]);
        clock.Lap("saving and loading");

        // Every parameter by a rule, the tied table as one.
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b["input"]), b["target"], b["predicted"]),
        };
        var coverage = task.Coverage(train);
        Console.WriteLine(
            $"Coverage {coverage.Fraction:0%}: {coverage.ByRule:N0} parameters by rules, {coverage.BySingleExamples:N0} by "
                + "single examples."
        );
        foreach (var role in new[] { LayerSelection.Attention, LayerSelection.Mlp, LayerSelection.NotEmbeddings })
        {
            var part = (task with { Layers = role }).Coverage(train);
            Console.WriteLine($"  {role}: {part.ByRule:N0} parameters of {part.Parameters.Count(p => p.Method != "left out")} tensors");
        }

        clock.Lap("coverage");

        // What it writes, greedily, from the beginnings of passages that it has not seen; only what it wrote is explained.
        List<Passage> prompts =
        [
            .. Enumerable.Range(0, 3).SelectMany(domain => corpus.HeldOut.Where(p => p.Domain == domain).Take(Options.QueriesOfADomain)),
        ];
        var written = Greedy.Continue(model, prompts, PromptBytes, length: 96);
        using var writtenTensors = new PassageTensors(written, [.. written.Select(_ => PromptBytes)]);
        var asked = writtenTensors.ToExamples(batchSize: written.Count);
        clock.Lap("writing");

        var curvature = new Ekfac.Options { Seed = options.Seed, OutputSplits = model.Splits() };
        var estimate = Ekfac.Estimate(task, train, curvature);
        clock.Lap("estimate");
        progress.Purpose = "EK-FAC";
        using var fit = Ekfac.Fit(task, train, curvature, progress, cancellationToken);
        progress.Clear();
        clock.Lap("EK-FAC fit");
        Console.WriteLine(
            $"EK-FAC over all {coverage.ByRule:N0} parameters; estimated {estimate.Time.TotalSeconds:0.0} s and "
                + $"{estimate.PeakBytes / 1e6:0} MB."
        );
        var influence = new InfluenceFunction(fit);
        using var scores = influence.Score(task, train, asked, progress, cancellationToken);
        progress.Clear();
        clock.Lap("EK-FAC scores");
        ConsoleTable.Write(Report.Proponents(corpus, passages, written, scores));

        // Head by head in the last block, for the passages that are among any query's strongest.
        var strongest = train.Only([.. Enumerable.Range(0, written.Count).SelectMany(q => scores.Proponents(q, 5).Ids).Distinct()]);
        var attention = Gpt2Model.AttentionOf(model.Settings.Layers - 1);
        using var heads = influence.ScoreHeads(
            task,
            strongest,
            asked,
            new(
                $"{attention}.c_attn.weight[q]",
                $"{attention}.c_attn.weight[k]",
                $"{attention}.c_attn.weight[v]",
                $"{attention}.c_proj.weight",
                model.Settings.Heads
            ),
            progress,
            cancellationToken
        );
        progress.Clear();
        ConsoleTable.Write(Report.Heads(corpus, written, heads));
        clock.Lap("heads");

        Adaptation.Run(model, task, corpus, options, clock, progress, cancellationToken);
        Console.WriteLine(clock);
    }
);
