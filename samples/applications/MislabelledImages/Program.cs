using System.Diagnostics;
using Influence;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Gradients;
using Influence.Reports;
using Influence.Scorers;
using Influence.Training;
using MislabelledImages;
using static TorchSharp.torch;

return CommandLine.Run<Options>(
    args,
    (options, cancellationToken) =>
    {
        OutputFile.Check(options.Output);

        // Load the images and flip a tenth of the labels: these are to be found again.
        var train = FashionMnist.ReadTraining(options.Data, options.Images);
        var test = FashionMnist.ReadTest(options.Data);
        var labels = FlippedLabels.Flip(train.Labels, Options.FlippedShare, options.Seed);
        using var images = train.ToTensor();
        using var givenLabels = labels.ToTensor();
        using var testImages = test.ToTensor();
        Console.WriteLine($"{train.Count:N0} training images, {labels.FlippedCount:N0} labels flipped (seed {options.Seed})");

        // Train as ever; the recorder keeps the checkpoints.
        using var progress = new ConsoleProgress();
        using var checkpoints = new TemporaryFolder();
        using var model = SmallCnn.Create(options.Seed);
        var trainer = new Trainer { Epochs = options.Epochs, Seed = options.Seed };
        using var recorder = new CheckpointRecorder(checkpoints.FullPath) { EverySteps = trainer.StepsPerCheckpoint(train.Count) };
        var watch = Stopwatch.StartNew();
        trainer.Train(model, images, givenLabels, recorder, progress, cancellationToken);
        var training = watch.Elapsed;

        // Score each image for itself, over the checkpoints, and rank.
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["image"]), b["label"]) };
        var examples = Examples.FromTensors(("image", images), ("label", givenLabels));
        var tracIn = new TracIn { Checkpoints = recorder.Checkpoints };
        var cost = new CostLog(progress);
        watch.Restart();
        var selfInfluence = tracIn.SelfInfluence(task, examples, cost, cancellationToken);
        var scoring = watch.Elapsed;

        // The baselines: the trained model's loss, and no order at all.
        var losses = new ExampleLosses().Score(task, examples, cost, cancellationToken);
        var random = Randomness.For(options.Seed, "random ranking");
        var randomScores = ExampleScores.Of(losses.Ids, [.. losses.Ids.Select(_ => random.NextDouble())], "Random");

        // Explain some test images.
        var predictions = Evaluation.Predictions(model, testImages, cancellationToken);
        var chosen = Evaluation.WrongFirst(predictions, test.Labels, wrong: 7, count: 10);
        var explained = test.At(chosen);
        using var explainedImages = explained.ToTensor();
        using var explainedLabels = tensor(explained.Labels.Select(label => (long)label).ToArray());
        var queries = Examples.FromTensors(("image", explainedImages), ("label", explainedLabels)) with
        {
            Ids = [.. chosen.Select(i => (long)i)],
        };
        (progress.Purpose, cost.Purpose) = ("explanations", "explanations");
        watch.Restart();
        using var scores = tracIn.Score(task, examples, queries, cost, cancellationToken);
        var explaining = watch.Elapsed;
        progress.Clear();

        // Report.
        var flipped = labels.IsFlipped.Index().Where(label => label.Item).Select(label => (long)label.Index).ToList();
        var detection = new MislabelDetection();
        var results = new Results
        {
            Detections =
            [
                ("Self-influence", detection.Evaluate(selfInfluence, flipped)),
                ("Loss", detection.Evaluate(losses, flipped)),
                ("Random", detection.Evaluate(randomScores, flipped)),
            ],
            TestAccuracy = predictions.Index().Average(p => p.Item == test.Labels[p.Index] ? 1.0 : 0.0),
            Training = training,
            Scoring = scoring,
            Explaining = explaining,
        };
        results.Print(Console.Out);

        var views = new ImageViews
        {
            Train = train,
            Labels = labels,
            Test = test,
            Predictions = predictions,
        };
        var report = new InfluenceReport("Mislabelled images in Fashion-MNIST") { Summary = results.Summary(labels) }
            .Detection(results.Detections)
            .Suspects(selfInfluence, views.Training, Options.Suspects, beside: [losses], heading: "Suspects")
            .Queries(scores, views.Training, views.Query, count: 3, heading: "Why the network says so", note: ImageViews.AboutQueries)
            .Coverage(task.Coverage(examples))
            .Cost(cost);
        cancellationToken.ThrowIfCancellationRequested();
        OutputFile.Write(options.Output, report.ToHtml());
        Console.WriteLine($"Pictures: {Path.GetFullPath(options.Output)}");
    }
);
