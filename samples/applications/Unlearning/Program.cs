using UnlearningSample;

return CommandLine.Run<Options>(
    args,
    (options, cancellationToken) =>
    {
        OutputFile.Check(options.Output);
        string[] names = options.Set is { } one ? [one] : ["random", "mislabelled", "class", "book", "verses", "memorised"];
        var text = names is ["verses"] or ["memorised"] ? string.Empty : Report.Head(options);
        foreach (var name in names)
        {
            if (name == "verses")
            {
                using var texts = new TextExperiment(cancellationToken);
                text += texts.Run();
            }
            else if (name == "memorised")
            {
                text += new MemorisationExperiment(options, cancellationToken).Run(Path.Combine(options.Runs, name));
            }
            else
            {
                using var set = Make(name);
                text += new Experiment(options, set, cancellationToken).Run(Path.Combine(options.Runs, name));
            }

            OutputFile.Write(options.Output, text);
        }

        Console.WriteLine($"Tables: {Path.GetFullPath(options.Output)}");

        ForgetSet Make(string name) =>
            name == "book"
                ? TextSet.Make()
                : ImageSet.Make(
                    name,
                    new Trainer { Epochs = options.Epochs },
                    FashionMnist.ReadTraining(options.Data, options.Images),
                    FashionMnist.ReadTest(options.Data),
                    options.Images / 10
                );
    }
);
