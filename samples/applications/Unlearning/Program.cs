using UnlearningSample;

return CommandLine.Run<Options>(
    args,
    (options, cancellationToken) =>
    {
        OutputFile.Check(options.Output);
        string[] names = options.Set is { } one ? [one] : ["random", "mislabelled", "class", "texts"];
        var text = names is ["texts"] ? string.Empty : Report.Head(options);
        foreach (var name in names)
        {
            if (name == "texts")
            {
                using var texts = new TextExperiment(cancellationToken);
                text += texts.Run();
            }
            else
            {
                var train = FashionMnist.ReadTraining(options.Data, options.Images);
                using var set = ForgetSet.Make(name, train, FashionMnist.ReadTest(options.Data), options.Images / 10);
                text += new Experiment(options, set, cancellationToken).Run(Path.Combine(options.Runs, name));
            }

            OutputFile.Write(options.Output, text);
        }

        Console.WriteLine($"Tables: {Path.GetFullPath(options.Output)}");
    }
);
