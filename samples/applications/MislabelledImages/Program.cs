using System.Diagnostics;
using Influence;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Scorers;
using Influence.Training;
using MislabelledImages;
using static TorchSharp.torch;

return CommandLine.Run<Options>(args, (options, cancellationToken) =>
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
    watch.Restart();
    var selfInfluence = tracIn.SelfInfluence(task, examples, progress, cancellationToken);
    var scoring = watch.Elapsed;
    var suspects = selfInfluence.Highest(Report.SuspectCount);

    // The baselines: the trained model's loss, and no order at all.
    var losses = new ExampleLosses().Score(task, examples, progress, cancellationToken);
    var random = Randomness.For(options.Seed, "random ranking");
    var randomScores = ExampleScores.Of(losses.Ids, [.. losses.Ids.Select(_ => random.NextDouble())], "Random");

    // Explain some test images.
    var predictions = Evaluation.Predictions(model, testImages, cancellationToken);
    progress.Purpose = "explanations";
    watch.Restart();
    var explanations = Explanation.Explain(
        tracIn, task, examples, testImages, test, predictions, progress, cancellationToken);
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

    var report = new Report
    {
        Train = train,
        Labels = labels,
        Test = test,
        Results = results,
        Suspects = suspects,
        Explanations = explanations,
    };
    cancellationToken.ThrowIfCancellationRequested();
    OutputFile.Write(options.Output, report.ToPage().ToString());
    Console.WriteLine($"Pictures: {Path.GetFullPath(options.Output)}");
});
