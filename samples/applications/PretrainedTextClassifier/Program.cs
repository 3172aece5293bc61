using System.Globalization;
using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using PretrainedTextClassifier;

return CommandLine.Run<Options>(
    args,
    (options, cancellationToken) =>
    {
        OutputFile.Check(options.Output);

        // Weights and vocabulary, and whether our modules do with them what ONNX Runtime does.
        var file = MiniLmPackage.Model();
        var graph = OnnxGraph.Read(file, "MiniLM's model.onnx");
        var tokenizer = WordPieces.Read(MiniLmPackage.Vocabulary());
        var split = MailSplit.Draw(options.Data, options.Mails, options.Seed);
        EmbeddingCheck.Demand(file, graph, tokenizer, [.. split.Test.Take(24).Select(mail => mail.Text)], options.Length);
        if (options.Check)
        {
            return;
        }

        // Fine-tune as ever; the recorder keeps the checkpoints.
        using var progress = new ConsoleProgress();
        using var folder = new TemporaryFolder();
        var costs = new Costs(progress);
        var (given, flipped) = split.FlipLabels(Options.FlippedShare, options.Seed);
        using var train = new MailTensors(split.Train, tokenizer, options.Length, given);
        using var test = new MailTensors(split.Test, tokenizer, options.Length);
        using var hardTest = new MailTensors(split.HardTest, tokenizer, options.Length);
        using var clean = new MailTensors(split.Clean, tokenizer, options.Length);
        using var target = new MailTensors(split.Target, tokenizer, options.Length);
        long[] all = [.. Enumerable.Range(0, split.Train.Count)];
        var trainer = new Trainer
        {
            Epochs = options.Epochs,
            Seed = options.Seed,
            LearningRate = options.Lora ? 1e-3 : 5e-5,
        };
        using var recorder = trainer.Recorder(folder.FullPath, all.Length);
        using var model = MailClassifier.Create(graph, options.Seed, options.Lora ? Options.LoraRank : 0);
        costs.MeasureTraining("fine-tuning", options.Epochs, () => trainer.Train(model, train, all, recorder, progress, cancellationToken));
        var (onTest, onHard) = (Predictions.Of(model, test, cancellationToken), Predictions.Of(model, hardTest, cancellationToken));
        var summary = Report.Describe(model, split, flipped.Count, onTest, onHard, options);
        Console.WriteLine(summary);

        // The task; every trained parameter takes part.
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["ids"], b["mask"]), b["label"]) };
        var examples = train.ToExamples();
        var coverage = task.Coverage(examples);
        Console.WriteLine(
            $"Coverage: {coverage.ByRule:N0} of {coverage.Total:N0} parameters by layer rules, {coverage.BySingleExamples:N0} "
                + "by single examples."
        );
        var settings = new Ekfac.Options { Seed = options.Seed, MemoryBudget = 4L << 30 };
        var estimate = costs.Measure("estimate of the fit", () => Ekfac.Estimate(task, examples, settings));
        using var ekfac = costs.Measure("EK-FAC fit", () => Ekfac.Fit(task, examples, settings, progress, cancellationToken), estimate);
        var findings = new Findings(task, new InfluenceFunction(ekfac), train, examples, costs, progress, cancellationToken);

        // The questions.
        var rankings = findings.Rankings(graph, recorder.Checkpoints, clean, Predictions.Of(model, train, cancellationToken), options.Seed);
        var tables = new Tables(progress);
        var found = Detections.Of(rankings, flipped);
        tables.Print("How well the flipped labels are found", Detections.Rows(found));
        using var explanation = Explanation.Explain(findings.Influence, task, examples, test, onTest, costs, progress, cancellationToken);
        var sources = findings.Sources(test, recorder.Checkpoints, trainer.BatchSize);
        var retraining = new Retraining
        {
            Create = () => MailClassifier.Create(graph, options.Seed, options.Lora ? Options.LoraRank : 0),
            Trainer = trainer,
            Train = train,
            Flipped = flipped,
            Test = test,
            HardTest = hardTest,
            Progress = progress,
            Token = cancellationToken,
        };
        var picks = findings.BestTenth(target, options.Seed);
        tables.Add(
            "The best tenth for hard ham",
            "Each pick trains the pretrained model anew, by the labels as given; a tenth in four times as many epochs as all mails.",
            [
                Retraining.Head,
                retraining.Row("all mails", all, onTest, onHard),
                .. picks.Select(pick => retraining.Row(pick.Pick, pick.Ids, options.Epochs * 4)),
            ]
        );
        tables.Add(
            "Leaving out one source of mails",
            "The rise of the test mails' mean loss: predicted to first order by EK-FAC, damped by the length of the run, and "
                + "by TracIn along AdamW's steps; and measured, after training again without the source. "
                + "The last row tells the noise: all mails, in another order.",
            retraining.WithoutSources(sources, onTest.Loss, options.Retrain)
        );
        tables.Add(
            "What it took",
            "Seconds by the clock and of the processor, the latter also in plain epochs of training (forward, backward and "
                + "AdamW); memory is the process's.",
            costs.Rows
        );

        var report = new Report
        {
            Summary = summary,
            Train = train,
            Flipped = flipped,
            Test = test,
            Predictions = onTest,
            Tokenizer = tokenizer,
            Found = found,
            Tables = tables.All,
        };
        cancellationToken.ThrowIfCancellationRequested();
        OutputFile.Write(options.Output, report.ToPage(rankings[0].Scores, explanation).ToHtml());
        Console.WriteLine($"Page: {Path.GetFullPath(options.Output)}");
    }
);
