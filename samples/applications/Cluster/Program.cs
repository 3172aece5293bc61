using System.Diagnostics;
using Cluster;
using Influence;
using Influence.Curvature;
using Influence.Distributed;
using Influence.Estimators;
using Influence.Training;
using LanguageModelAttribution;
using TorchSharp;

return CommandLine.Run<Options>(
    args,
    (options, cancellationToken) =>
    {
        var corpus = Corpus.Read(
            options.Corpus is null ? FiveDomains.All : Domain.OfFolder(options.Corpus),
            options.Passages,
            options.Seed
        );
        using var model = ByteDecoder.Create(options.Seed, layers: 2, width: 96);
        using var trainTensors = new PassageTensors(corpus.Train);
        var file = Path.Combine(options.Folder, "model.safetensors");
        if (options.Train)
        {
            using var checkpoints = new TemporaryFolder();
            using var recorder = new CheckpointRecorder(checkpoints.FullPath) { EverySteps = int.MaxValue };
            var losses = new Trainer { Epochs = 2, Seed = options.Seed }.Train(
                model,
                trainTensors,
                recorder,
                cancellationToken: cancellationToken
            );
            Checkpoint.Save(file, model, learningRate: 0);
            Console.WriteLine(
                $"A decoder of {model.ParameterCount:N0} parameters, {corpus.Train.Count:N0} passages; loss per byte "
                    + $"{losses[^1]:0.000} nats: {file}"
            );
            return;
        }

        // Who this process is among the others; a process with a GPU takes that of its local rank.
        var work = Work.FromEnvironment(Path.Combine(options.Folder, options.Run)) with
        {
            ExamplesPerUnit = 10,
        };
        Checkpoint.FromFile(file).LoadInto(model);
        model.eval();
        model.to(work.Device);
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b =>
                Losses.CrossEntropy(model.call(b["input"].to(work.Device)), b["target"].to(work.Device), b["predicted"].to(work.Device)),
            Layers = LayerSelection.Where(ByteDecoder.IsAttentionOrMlp, "attention and MLP"),
        };
        using var heldOut = new PassageTensors([.. corpus.HeldOut.Where((_, i) => i % 10 == 0).Take(10)]);
        var (train, queries) = (trainTensors.ToExamples(batchSize: 10), heldOut.ToExamples(batchSize: 10));

        // Both calls go on where any process was cut off, and wait for the others' units.
        var watch = Stopwatch.StartNew();
        using var fit = Ekfac.Fit(
            task,
            train,
            new Ekfac.Options { Seed = options.Seed, Work = work.In("fit") },
            cancellationToken: cancellationToken
        );
        var fitted = watch.Elapsed;
        var scores = Path.Combine(work.Folder, FormattableString.Invariant($"scores-of-rank-{work.Rank}.safetensors"));
        new InfluenceFunction(fit) { Work = work.In("scores") }.ScoreToFile(
            scores,
            task,
            train,
            queries,
            cancellationToken: cancellationToken
        );
        Console.WriteLine(
            $"Rank {work.Rank} of {work.Count} on {work.Device}: fit in {fitted.TotalSeconds:0.0} s, scores in "
                + $"{(watch.Elapsed - fitted).TotalSeconds:0.0} s: {scores}"
        );
    }
);
