using System.Globalization;
using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using PretrainedTextClassifier;
using static System.FormattableString;

return CommandLine.Run<Options>(args, (options, cancellationToken) =>
{
    OutputFile.Check(options.Output);

    // Weights and vocabulary, and whether our modules do with them what ONNX Runtime does.
    var file = MiniLmPackage.Model();
    var graph = OnnxGraph.Read(file, "MiniLM's model.onnx");
    var tokenizer = WordPieces.Read(MiniLmPackage.Vocabulary());
    var split = MailSplit.Draw(options.Data, options.Mails, options.Seed);
    CheckEmbeddings();
    if (options.Check)
    {
        return;
    }

    // Fine-tune as ever; the recorder keeps the checkpoints.
    using var progress = new ConsoleProgress();
    using var folder = new TemporaryFolder();
    var costs = new Costs();
    var (given, flipped) = split.FlipLabels(Options.FlippedShare, options.Seed);
    using var train = new MailTensors(split.Train, tokenizer, options.Length, given);
    using var test = new MailTensors(split.Test, tokenizer, options.Length);
    using var hardTest = new MailTensors(split.HardTest, tokenizer, options.Length);
    using var clean = new MailTensors(split.Clean, tokenizer, options.Length);
    using var target = new MailTensors(split.Target, tokenizer, options.Length);
    long[] all = [.. Enumerable.Range(0, split.Train.Count)];
    var trainer = new Trainer { Epochs = options.Epochs, Seed = options.Seed, LearningRate = options.Lora ? 1e-3 : 5e-5 };
    using var recorder = trainer.Recorder(folder.FullPath, all.Length);
    using var model = MailClassifier.Create(graph, options.Seed, options.Lora ? Options.LoraRank : 0);
    costs.MeasureTraining("fine-tuning", options.Epochs, () => trainer.Train(model, train, all, recorder, progress, cancellationToken));
    var (onTest, onHard) = (Predictions.Of(model, test, cancellationToken), Predictions.Of(model, hardTest, cancellationToken));
    var summary = string.Create(CultureInfo.InvariantCulture,
        $"all-MiniLM-L6-v2 with a new head, {model.TrainedCount:N0} of {model.ParameterCount:N0} parameters trained by AdamW for {options.Epochs} epochs on {all.Length:N0} mails of {options.Length} pieces, " +
        $"{flipped.Count:N0} labels flipped (seed {options.Seed}). Right on {onTest.Accuracy:0.0%} of {split.Test.Count} test mails and {onHard.Accuracy:0.0%} of {split.HardTest.Count} mails of hard ham.");
    Console.WriteLine(summary);

    // The task; every trained parameter takes part.
    var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["ids"], b["mask"]), b["label"]) };
    var examples = train.ToExamples();
    var coverage = task.Coverage(examples);
    Console.WriteLine($"Coverage: {coverage.ByRule:N0} of {coverage.Total:N0} parameters by layer rules, {coverage.BySingleExamples:N0} by single examples.");
    var settings = new CurvatureOptions { Seed = options.Seed, MemoryBudget = 4L << 30 };
    var estimate = costs.Measure("estimate of the fit", () => Ekfac.Estimate(task, examples, settings));
    using var ekfac = costs.Measure("EK-FAC fit", () => Ekfac.Fit(task, examples, settings, progress, cancellationToken), estimate);
    var findings = new Findings(task, new InfluenceFunction(ekfac), train, examples, costs, progress, cancellationToken);

    // The questions.
    var rankings = findings.Rankings(graph, recorder.Checkpoints, clean, Predictions.Of(model, train, cancellationToken), options.Seed);
    var tables = new List<(string Title, string Text, IReadOnlyList<IReadOnlyList<string>> Rows)>();
    var found = Detections.Of(rankings, flipped);
    Print("How well the flipped labels are found", Detections.Rows(found));
    using var explanation = Explanation.Explain(findings.Influence, task, examples, test, onTest, costs, progress, cancellationToken);
    var sources = findings.Sources(test);
    var picks = findings.BestTenth(target, options.Seed);
    Add("The best tenth for hard ham", "Each pick trains the pretrained model anew, by the labels as given; a tenth in four times as many epochs as all mails.",
    [
        ["trained on", "hard ham, right", "hard ham, loss", "all test mails, right", "hard ham among the picks", "flipped labels among them"],
        Row("all mails", model: null, all),
        .. picks.Select(pick => Row(pick.Pick, Retrained(pick.Ids, options.Epochs * 4), pick.Ids)),
    ]);
    Add("Leaving out one source of mails", "The rise of the test mails' mean loss: predicted to first order, and where it was tried, after training again without the source.", SourceTable());
    progress.Clear();
    Add("What it took", "Seconds by the clock and of the processor, the latter also in plain epochs of training (forward, backward and AdamW); memory is the process's.", costs.Rows);

    var report = new Report
    {
        Summary = summary,
        Train = train,
        Flipped = flipped,
        Test = test,
        Predictions = onTest,
        Tokenizer = tokenizer,
        Found = found,
        Tables = tables,
    };
    cancellationToken.ThrowIfCancellationRequested();
    OutputFile.Write(options.Output, report.ToPage(rankings[0].Scores, explanation).ToHtml());
    Console.WriteLine($"Page: {Path.GetFullPath(options.Output)}");

    void CheckEmbeddings()
    {
        using var encoder = new MiniLm();
        var unused = MiniLmWeights.Load(encoder, graph);
        var check = EmbeddingCheck.Run(file, encoder, tokenizer, [.. split.Test.Take(24).Select(mail => mail.Text)], options.Length);
        Console.WriteLine(
            $"Beside ONNX Runtime, {check.Texts} mails: states differ by at most {check.States:0.0e+0}, embeddings by {check.Embeddings:0.0e+0} (allowed: {EmbeddingCheck.Allowed:0e+0}). " +
            $"Weights of the file that are not needed: {string.Join(", ", unused)}.");
        if (!check.Holds)
        {
            throw new SampleException("The modules do not do what ONNX Runtime does with the same weights.");
        }
    }

    MailClassifier Retrained(IReadOnlyList<long> ids, int epochs)
    {
        var again = MailClassifier.Create(graph, options.Seed, options.Lora ? Options.LoraRank : 0);
        (trainer with { Epochs = epochs }).Train(again, train, ids, null, progress, cancellationToken);
        return again;
    }

    IReadOnlyList<string> Row(string pick, MailClassifier? model, IReadOnlyList<long> ids)
    {
        using var disposed = model;
        var (hard, whole) = model is null ? (onHard, onTest) : (Predictions.Of(model, hardTest, cancellationToken), Predictions.Of(model, test, cancellationToken));
        return
        [
            $"{pick} ({ids.Count})", Invariant($"{hard.Accuracy:0.0%}"), Invariant($"{hard.Loss:0.000}"), Invariant($"{whole.Accuracy:0.0%}"),
            Invariant($"{ids.Average(id => split.Train[(int)id].Source == Mail.HardHam ? 1.0 : 0):0%}"), Invariant($"{ids.Average(id => flipped.Contains(id) ? 1.0 : 0):0%}"),
        ];
    }

    IReadOnlyList<IReadOnlyList<string>> SourceTable()
    {
        var predicted = sources.TrainGroups.Select((group, k) => (group.Name, group.Examples, Rise: sources.Sum(0, k) / all.Length)).ToList();
        var tried = predicted.MaxBy(group => Math.Abs(group.Rise)).Name;
        return
        [
            ["source left out", "mails", "predicted rise", "measured rise"],
            .. predicted.Select(group => (IReadOnlyList<string>)
                [group.Name, $"{group.Examples}", Invariant($"{group.Rise:+0.0000;-0.0000}"), options.Retrain && group.Name == tried ? Invariant($"{Measured(group.Name):+0.0000;-0.0000}") : string.Empty]),
        ];

        double Measured(string source)
        {
            using var again = Retrained([.. all.Where(id => split.Train[(int)id].Source != source)], options.Epochs);
            return Predictions.Of(again, test, cancellationToken).Loss - onTest.Loss;
        }
    }

    void Add(string title, string text, IReadOnlyList<IReadOnlyList<string>> rows)
    {
        tables.Add((title, text, rows));
        Print(title, rows);
    }

    void Print(string title, IReadOnlyList<IReadOnlyList<string>> rows)
    {
        progress.Clear();
        Console.WriteLine($"\n{title}");
        TextTable.Write(Console.Out, rows);
    }
});
