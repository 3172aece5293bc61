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
        var check = FeatureCheck.Run(file, graph, preparation, test.At([0, 1, 2, 3]));
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"Beside ONNX Runtime, {check.Pictures} pictures: features of up to "
                    + $"{check.Largest:0.0} differ by at most {check.Difference:0.0e+0} (allowed: {FeatureCheck.Allowed:0e+0} of the "
                    + $"largest)."
            )
        );
        if (!check.Holds)
        {
            throw new SampleException("The network does not do what ONNX Runtime does with the same weights.");
        }

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
        foreach (var (name, parameter) in model.named_parameters())
        {
            parameter.requires_grad =
                name.StartsWith("fc.", StringComparison.Ordinal)
                || (!options.HeadOnly && name.StartsWith("layer4.", StringComparison.Ordinal));
        }

        var trainer = new Trainer { Epochs = options.Epochs, Seed = options.Seed };
        using var recorder = trainer.Recorder(folder.FullPath, train.Count);
        costs.MeasureTraining(
            "fine-tuning",
            options.Epochs,
            () => trainer.Train(model, images, given, recorder, progress, cancellationToken)
        );
        var predictions = Evaluation.Predictions(model, testImages, cancellationToken);
        var accuracy = predictions.Index().Average(p => p.Item == test.Labels[p.Index] ? 1.0 : 0.0);
        var summary = string.Create(
            CultureInfo.InvariantCulture,
            $"A pretrained ResNet-18 with a new head, {model.parameters().Where(p => p.requires_grad).Sum(p => p.numel()):N0} of "
                + $"{model.parameters().Sum(p => p.numel()):N0} parameters trained by AdamW for {options.Epochs} epochs on "
                + $"{train.Count:N0} images of {Side} x {Side} pixels, {labels.FlippedCount:N0} labels flipped (seed {options.Seed}). "
                + $"Right on {accuracy:0.0%} of {test.Count:N0} test images."
        );
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
        var flipped = labels.IsFlipped.Index().Where(label => label.Item).Select(label => (long)label.Index).ToList();
        var random = Randomness.For(options.Seed, "random ranking");
        var suspicion = costs.Measure("EK-FAC, self-influence", () => influence.SelfInfluence(task, examples, progress, cancellationToken));
        var tracIn = costs.Measure(
            $"TracIn, self-influence over {recorder.Checkpoints.Count} checkpoints",
            () => new TracIn { Checkpoints = recorder.Checkpoints }.SelfInfluence(task, examples, progress, cancellationToken)
        );
        var losses = costs.Measure("losses", () => new ExampleLosses().Score(task, examples, progress, cancellationToken));
        var found = Detections.Of(
            [
                ("EK-FAC, self-influence", suspicion),
                ("TracIn, self-influence", tracIn),
                ("loss", losses),
                ("random", ExampleScores.Of(losses.Ids, [.. losses.Ids.Select(_ => random.NextDouble())])),
            ],
            flipped
        );

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
