using System.Globalization;
using Influence;
using Influence.Curvature;
using Influence.Recipes;
using Influence.Selection;
using Samples;

namespace SelectBestTenth;

/// <summary>DEALRec on invented clicks: a small model's influence and a large one's effort choose what the large one is tuned on.</summary>
internal static class RecommenderPart
{
    private const int Users = 4_000;
    private const int Before = 2_000;
    private const int TestUsers = 2_000;
    private const int Steps = 60;
    private const double Rate = 5e-4;
    private const double Share = 0.05;

    public static void Run(Options options, CancellationToken cancellationToken)
    {
        using var pool = Recommendations.Draw(Users, options.Seed);
        using var earlier = Recommendations.Draw(Before, options.Seed + 1);
        using var test = Recommendations.Draw(TestUsers, options.Seed + 2, chance: false);
        long[] all = [.. Enumerable.Range(0, Users)];
        using var small = Recommender.Small(options.Seed);
        small.Train(pool, all, 800, options.Seed, cancellationToken);
        using var large = Large(options.Seed);
        var (surrogate, tuned) = (TaskOf(small), TaskOf(large));
        using var curvature = Ekfac.Fit(
            surrogate,
            pool.Examples,
            new Ekfac.Options { Seed = options.Seed },
            cancellationToken: cancellationToken
        );
        var result = new Dealrec().Score(surrogate, curvature, pool.Examples, tuned, pool.Examples, cancellationToken: cancellationToken);
        var budget = SelectionBudget.Fraction(Share);
        var coverage = new CoverageSampling { Seed = options.Seed };
        (string Name, Func<int, IReadOnlyList<long>> Pick)[] picks =
        [
            ("nothing: before tuning", _ => []),
            (
                "a random twentieth",
                seed =>
                    new RandomSelection { Seed = seed }
                        .Select(result.Scores, budget)
                        .Ids
            ),
            ("DEALRec, coverage sampling", seed => (coverage with { Seed = seed }).Select(result.Scores, budget).Ids),
            (
                "DEALRec, coverage sampling without the highest fifth",
                seed => (coverage with { Seed = seed, HardestDropped = 0.2 }).Select(result.Scores, budget).Ids
            ),
            ("its influence alone, coverage sampling", seed => (coverage with { Seed = seed }).Select(result.Influence, budget).Ids),
            ("its effort alone, coverage sampling", seed => (coverage with { Seed = seed }).Select(result.Effort, budget).Ids),
            ("DEALRec, the highest scores", _ => new TopK().Select(result.Scores, budget).Ids),
            ("its influence, the highest", _ => new TopK().Select(result.Influence, budget).Ids),
            ("everything", _ => all),
        ];
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{Users:N0} users to choose from, {Share:0%} are chosen; tuned for {Steps} steps; {options.Seeds} choices and tunings a row."
            )
        );
        List<IReadOnlyList<string>> rows =
        [
            ["tuned on", "random clicks", "hits among ten", "spread"],
        ];
        foreach (var (name, pick) in picks)
        {
            var (hits, chance) = (new List<double>(), new List<double>());
            for (var k = 0; k < Math.Max(1, options.Seeds); k++)
            {
                var seed = Randomness.SeedFor(options.Seed, $"tuning {k}");
                var ids = pick(seed);
                using var model = Large(options.Seed);
                if (ids.Count > 0)
                {
                    model.Train(pool, ids, Steps, seed, cancellationToken, Rate);
                    chance.Add(ids.Average(id => pool.IsChance[(int)id] ? 1.0 : 0));
                }

                hits.Add(model.HitsAmongTen(test));
            }

            rows.Add([
                name,
                chance.Count == 0 ? "-" : chance.Average().ToString("0%", CultureInfo.InvariantCulture),
                hits.Average().ToString("0.0%", CultureInfo.InvariantCulture),
                (hits.Max() - hits.Min()).ToString("0.0%", CultureInfo.InvariantCulture),
            ]);
        }

        ConsoleTable.Write(rows);

        Recommender Large(int seed)
        {
            // Clicks of others, as a large model comes trained.
            var model = Recommender.Large(seed);
            model.Train(earlier, [.. Enumerable.Range(0, Before)], 100, seed, cancellationToken);
            return model;
        }
    }

    private static InfluenceTask TaskOf(Recommender model) =>
        new(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["seen"]), b["next"]) };
}
