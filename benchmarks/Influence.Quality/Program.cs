using Influence;
using Influence.Quality;

try
{
    if (args.Any(argument => argument is "-h" or "--help"))
    {
        Console.WriteLine(Options.Usage);
        return 0;
    }

    QualityRun.Run(Options.Parse(args));
    return 0;
}
catch (Exception exception) when (exception is BenchmarkException or InfluenceException)
{
    Console.Error.WriteLine(exception.Message);
    return 2;
}
