using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Reports;
using Influence.Training;
using LanguageModelAttribution;

return CommandLine.Run<Options>(
    args,
    (options, cancellationToken) =>
    {
        OutputFile.Check(options.Output);
        var clock = new StageClock();
        using var progress = new ConsoleProgress();
        var cost = new CostLog(progress);

        // Read the texts.
        var corpus = Corpus.Read(
            options.Corpus is null ? FiveDomains.All : Domain.OfFolder(options.Corpus),
            options.Passages,
            options.Seed
        );
        ConsoleTable.Write(corpus.ToTable());
        clock.Lap("reading");

        // Train as ever; the recorder keeps the checkpoints.
        using var checkpoints = new TemporaryFolder();
        using var model = ByteDecoder.Create(options.Seed, layers: 3, width: 160);
        using var trainTensors = new PassageTensors(corpus.Train);
        var trainer = new Trainer { Epochs = options.Epochs, Seed = options.Seed };
        using var recorder = new CheckpointRecorder(checkpoints.FullPath) { EverySteps = trainer.StepsPerCheckpoint(corpus.Train.Count) };
        var losses = trainer.Train(model, trainTensors, recorder, cost, cancellationToken);
        progress.Clear();
        var training =
            $"A decoder of {model.ParameterCount:N0} parameters; loss per byte in each epoch of training: "
            + $"{string.Join(", ", losses.Select(loss => $"{loss:0.000}"))} nats.";
        Console.WriteLine(training);
        clock.Lap("training");

        // What is to be explained: passages that the model has not seen, and some that it writes.
        var queries = Query.Choose(corpus, model, options.Seed);
        using var queryTensors = new PassageTensors([.. queries.Select(q => q.Passage)], [.. queries.Select(q => q.GivenBytes)]);
        clock.Lap("writing");

        // Score every training passage for every query.
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b["input"]), b["target"], b["predicted"]),
            Layers = LayerSelection.Where(ByteDecoder.IsAttentionOrMlp, "attention and MLP"),
        };
        var train = trainTensors.ToExamples(batchSize: 20);
        var asked = queryTensors.ToExamples(batchSize: queries.Count);
        (progress.Purpose, cost.Purpose) = ("EK-FAC", "EK-FAC");
        using var curvature = Ekfac.Fit(task, train, new Ekfac.Options { Seed = options.Seed }, cost, cancellationToken);
        clock.Lap("EK-FAC fit");
        var influence = new InfluenceFunction(curvature);
        using var influenceScores = influence.Score(task, train, asked, cost, cancellationToken);
        clock.Lap("EK-FAC scores");
        (progress.Purpose, cost.Purpose) = ("TracIn", "TracIn");
        using var tracInScores = new TracIn { Checkpoints = recorder.Checkpoints }.Score(task, train, asked, cost, cancellationToken);
        clock.Lap("TracIn");

        // Split the strongest scores over the bytes of their passages; TracIn's at the last checkpoint, as a plain dot product.
        (progress.Purpose, cost.Purpose) = ("bytes", "bytes");
        using var noCurvature = NoCurvature.Fit(task, train);
        var byteScorer = new ByteScorer(
            task,
            b => Losses.TokenCrossEntropy(model.call(b["input"]), b["target"], b["predicted"]),
            train,
            asked
        );
        IReadOnlyList<Attribution> attributions =
        [
            byteScorer.AddTo(Attribution.FromScores("EK-FAC", influenceScores), influence, cost, cancellationToken),
            byteScorer.AddTo(Attribution.FromScores("TracIn", tracInScores), new InfluenceFunction(noCurvature), cost, cancellationToken),
        ];
        progress.Clear();
        clock.Lap("bytes");

        // Report.
        var shares = new DomainShares(corpus, queries, attributions);
        ConsoleTable.Write(shares.ToTable());
        Console.WriteLine(clock);
        var report = new Report
        {
            Corpus = corpus,
            Queries = queries,
            Methods = [(attributions[0], influenceScores), (attributions[1], tracInScores)],
            Shares = shares,
            Training = training,
            Cost = cost,
        };
        cancellationToken.ThrowIfCancellationRequested();
        OutputFile.Write(options.Output, report.ToPage().ToHtml());
        Console.WriteLine($"Page: {Path.GetFullPath(options.Output)}");
    }
);
