using System.Globalization;
using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Scorers;
using PretrainedImageClassifier;
using TorchSharp;
using static TorchSharp.torch;

const int Side = 64;
const int WidestFactor = 1536;

return CommandLine.Run<Options>(
    args,
    (options, cancellationToken) =>
    {
        OutputFile.Check(options.Output);

        // Weights, and whether TorchVision's network does with them what ONNX Runtime does.
        var file = ResNet18Package.Model();
        var graph = OnnxGraph.Read(file, "ResNet18.onnx");
        var preparation = OnnxGraph.Read(ResNet18Package.Preparation(), "ResNetPreprocess.onnx");
        var train = FashionMnist.ReadTraining(options.Data, options.Images);
        var test = FashionMnist.ReadTest(options.Data).At([.. Enumerable.Range(0, options.Test)]);
        FeatureCheck.Demand(file, graph, preparation, test.At([0, 1, 2, 3]));
        if (options.Check)
        {
            return;
        }

        // Fine-tune the last stage and a new head, or the head alone.
        using var progress = new ConsoleProgress();
        using var folder = new TemporaryFolder();
        var costs = new Costs(progress);
        var labels = FlippedLabels.Flip(train.Labels, Options.FlippedShare, options.Seed);
        using var images = Pictures.ToTensor(train, Side, preparation);
        using var given = labels.ToTensor();
        using var testImages = Pictures.ToTensor(test, Side, preparation);
        manual_seed(Randomness.SeedFor(options.Seed, "new weights"));
        using var model = ResNet18Weights.Create(graph, LabelledImages.ClassCount);
        Trainer.Freeze(model, options.HeadOnly);
        var trainer = new Trainer { Epochs = options.Epochs, Seed = options.Seed };
        using var recorder = trainer.Recorder(folder.FullPath, train.Count);
        costs.MeasureTraining(
            "fine-tuning",
            options.Epochs,
            () => trainer.Train(model, images, given, recorder, progress, cancellationToken)
        );
        var predictions = Evaluation.Predictions(model, testImages, cancellationToken);
        var summary = Report.Describe(model, train, labels, test, predictions, options, Side);
        progress.Clear();
        Console.WriteLine(summary);

        // The task. The covariances of layers with 4,608 inputs are cut into three blocks, which are decomposed in a ninth of the time.
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["image"]), b["label"]) };
        var examples = Examples.FromTensors(("image", images), ("label", given)) with { BatchSize = 50 };
        var coverage = task.Coverage(examples);
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"Coverage: {coverage.ByRule:N0} of {coverage.Total:N0} parameters by "
                    + $"layer rules, {coverage.BySingleExamples:N0} by single examples."
            )
        );
        var settings = new Ekfac.Options
        {
            Seed = options.Seed,
            MaximumFactorSize = WidestFactor,
            MemoryBudget = 4L << 30,
        };
        var estimate = costs.Measure("estimate of the fit", () => Ekfac.Estimate(task, examples, settings));
        using var ekfac = costs.Measure("EK-FAC fit", () => Ekfac.Fit(task, examples, settings, progress, cancellationToken), estimate);
        var influence = new InfluenceFunction(ekfac);

        // Which labels are wrong?
        var suspicion = costs.Measure("EK-FAC, self-influence", () => influence.SelfInfluence(task, examples, progress, cancellationToken));
        var tracIn = costs.Measure(
            $"TracIn, self-influence over {recorder.Checkpoints.Count} checkpoints",
            () => new TracIn { Checkpoints = recorder.Checkpoints }.SelfInfluence(task, examples, progress, cancellationToken)
        );
        var losses = costs.Measure("losses", () => new ExampleLosses().Score(task, examples, progress, cancellationToken));
        var found = Report.Detect(suspicion, tracIn, losses, labels, options.Seed);

        // Where do predictions come from?
        var chosen = Evaluation.WrongFirst(predictions, test.Labels, wrong: 5, count: 8);
        var explained = test.At(chosen);
        using var explainedImages = Pictures.ToTensor(explained, Side, preparation);
        using var explainedLabels = tensor(explained.Labels.Select(label => (long)label).ToArray());
        var queries = Examples.FromTensors(("image", explainedImages), ("label", explainedLabels)) with
        {
            Ids = [.. chosen.Select(i => (long)i)],
            BatchSize = 50,
        };
        using var pairs = costs.Measure(
            $"scores of all training images for {queries.Count} queries",
            () => influence.Score(task, examples, queries, progress, cancellationToken)
        );
        progress.Clear();
        foreach (var table in new[] { Detections.Rows(found), costs.Rows })
        {
            ConsoleTable.Write(table);
        }

        var page = new Report
        {
            Summary = summary,
            Found = found,
            Costs = costs.Rows,
            Coverage = coverage,
            Images = new ImageViews
            {
                Train = train,
                Labels = labels,
                Test = test,
                Predictions = predictions,
            },
        }.ToPage(suspicion, losses, pairs);
        cancellationToken.ThrowIfCancellationRequested();
        OutputFile.Write(options.Output, page.ToHtml());
        Console.WriteLine($"Pictures: {Path.GetFullPath(options.Output)}");
    }
);
