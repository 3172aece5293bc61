using Influence.Evaluation;
using Influence.Quality.Judging;
using Influence.Quality.Reporting;
using Influence.Quality.Training;

namespace Influence.Quality.Parts;

/// <summary>What can be asked of gradient stores, held against the same retrainings as W1's other methods.</summary>
internal static class StoreStudy
{
    private const long SubsetSeed = 1;
    private const long FirstModelSeed = 1000;

    public static Findings Run(PartContext context)
    {
        var own = new PartContext("w1", context.Quick, Path.Combine(Path.GetDirectoryName(context.Cache)!, Path.GetFileName(context.Cache).Replace("g1", "w1", StringComparison.Ordinal)));
        var setUp = SetUps.FashionMlp(own);
        var study = new Study(own, setUp.Recipe, setUp.Data);
        var halves = study.Retrain("halves", Subsets.Half(setUp.Data.TrainIds, setUp.Halves, SubsetSeed), setUp.Seeds);
        long[] modelSeeds = [.. Enumerable.Range(0, setUp.Models).Select(m => FirstModelSeed + m)];
        TrainedModel[] runs = [.. modelSeeds.Select(study.Full)];
        var judge = new Judge(context, halves, setUp.Data.Queries(setUp.BatchSize));
        return new Findings(new Dictionary<string, string>(), new Dictionary<string, string>(), study.Times, judge.Results, []);
    }
}
