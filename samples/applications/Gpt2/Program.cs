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
        const int QueriesOfADomain = 3;
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
            .. Enumerable.Range(0, 3).SelectMany(domain => corpus.HeldOut.Where(p => p.Domain == domain).Take(QueriesOfADomain)),
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
        ConsoleTable.Write(
            Report.Heads(
                corpus,
                written,
                [
                    .. heads.Select(h =>
                        (
                            h.Parameters,
                            Enumerable
                                .Range(0, written.Count)
                                .Select(q => h.Scores.Values[q].sum().item<float>())
                                .Select(v => (double)v)
                                .ToArray()
                        )
                    ),
                ]
            )
        );
        clock.Lap("heads");

        // Two domains that it has never seen, by factors of low rank beside c_attn; all else stays.
        var adapted = corpus.Train.Where(p => p.Domain >= 3).ToList();
        var heldOut = corpus.HeldOut.Where(p => p.Domain >= 3).ToList();
        using var adaptedTensors = new PassageTensors(adapted);
        using var heldOutTensors = new PassageTensors(heldOut);
        var before = Trainer.Loss(model, heldOutTensors);
        progress.Purpose = string.Empty;
        model.AddLora(rank: 4, alpha: 8);
        new Trainer
        {
            PeakRate = 5e-3,
            Epochs = options.Epochs,
            Seed = options.Seed + 1,
        }.Train(model, adaptedTensors, progress, cancellationToken);
        progress.Clear();
        Console.WriteLine(
            $"LoRA of rank 4 on c_attn: loss per byte on passages held out of {corpus.Domains[3].Name} and "
                + $"{corpus.Domains[4].Name} {before:0.000} before, {Trainer.Loss(model, heldOutTensors):0.000} after."
        );
        clock.Lap("LoRA");

        // The task is the same; what takes part is what is not frozen, the factors.
        var adaptation = adaptedTensors.ToExamples(batchSize: 20);
        List<Passage> questions =
        [
            .. heldOut.Where(p => p.Domain == 3).Take(QueriesOfADomain),
            .. heldOut.Where(p => p.Domain == 4).Take(QueriesOfADomain),
        ];
        using var questionTensors = new PassageTensors(questions);
        var factors = task.Coverage(adaptation);
        Console.WriteLine(
            $"Coverage of the factors {factors.Fraction:0%}: {factors.ByRule:N0} parameters by rules, "
                + $"{factors.BySingleExamples:N0} by single examples."
        );
        progress.Purpose = "EK-FAC";
        using var loraFit = Ekfac.Fit(task, adaptation, new Ekfac.Options { Seed = options.Seed }, progress, cancellationToken);
        using var loraScores = new InfluenceFunction(loraFit).Score(
            task,
            adaptation,
            questionTensors.ToExamples(batchSize: questions.Count),
            progress,
            cancellationToken
        );
        progress.Clear();
        ConsoleTable.Write(Report.Proponents(corpus, adapted, questions, loraScores));
        clock.Lap("LoRA's EK-FAC and scores");
        Console.WriteLine(clock);
    }
);
