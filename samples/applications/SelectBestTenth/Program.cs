using SelectBestTenth;

return CommandLine.Run<Options>(
    args,
    (options, cancellationToken) =>
    {
        using var progress = new ConsoleProgress();
        if (options.Part == "staged")
        {
            using var part = new StagedPart(options, progress, cancellationToken);
            part.Run();
            return;
        }

        if (options.Part == "recommender")
        {
            RecommenderPart.Run(options, cancellationToken);
            return;
        }

        if (options.Part != "texts")
        {
            ImagePart.Run(options, progress, cancellationToken);
        }

        if (options.Part != "images")
        {
            TextPart.Run(options, progress, cancellationToken);
        }
    }
);
