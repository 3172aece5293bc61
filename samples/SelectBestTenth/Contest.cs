using System.Diagnostics;
using Influence;
using Influence.Selection;

namespace SelectBestTenth;

/// <summary>Lets each strategy pick, trains on the picks, and tells how it went.</summary>
internal sealed class Contest(SkewedPool pool, PoolKnowledge knowledge, Options options, int steps)
{
    private readonly List<Row> _rows = [];

    /// <summary>Every strategy, those first that the others are held against.</summary>
    public IReadOnlyList<Contender> Contenders()
    {
        var relevance = Relevance();
        var spread = Math.Sqrt(relevance.Average(r => r * r));
        return
        [
            new(new RandomSelection()),
            new(new TopK()),
            new(new Proportional { Standardize = true }),
            new(new Stratified(new TopK()) { Quotas = GroupQuotas.Equal }, ByClass: true) { Label = "stratified top-k, equal classes" },
            new(new LessMax()),
            new(new RoundRobin()),
            new(new Bids()),
            new(new FacilityLocation { Method = FacilityLocationMethod.Stochastic }, ComparedBy.Gradient),
            new(new Quad { Oracle = ids => [.. ids.Select(id => relevance[id])] }, ComparedBy.Gradient),
            new(
                new DiversifyAndConquer { Reward = round => [.. round.Added.Select(id => relevance[id])], Temperature = spread },
                ComparedBy.Gradient),
            new(new Ideal(), ComparedBy.Picture),
            new(new Gotd { Targets = knowledge.Target.Representation }, ComparedBy.Picture),
            new(new Gotd { Targets = knowledge.Target.Gradient }, ComparedBy.Gradient) { Label = "GOT-D on gradients" },
            new(new SslPrototypes(), ComparedBy.Picture) { Label = "SSL prototypes, hardest" },
            new(new SslPrototypes { Keep = PrototypeOrder.Easiest }, ComparedBy.Picture) { Label = "SSL prototypes, easiest" },
            new(new DensityPruning { Temperature = 0.05 }, ComparedBy.Picture),
        ];
    }

    /// <summary>Trains on a given choice: the baselines that no strategy makes.</summary>
    public void Hold(string name, IReadOnlyList<long> ids, CancellationToken cancellationToken) =>
        Add(name, ids, [.. ids.Select(_ => 1.0)], null, steps, cancellationToken);

    public void Hold(Contender contender, CancellationToken cancellationToken)
    {
        using var candidates = Pool(contender);
        var watch = Stopwatch.StartNew();
        var selected = contender.Strategy.Select(candidates, SelectionBudget.Fraction(Options.Share), null, cancellationToken);
        var seconds = watch.Elapsed.TotalSeconds;
        Add(contender.Name, selected.Ids, selected.Weights, seconds, steps, cancellationToken);
        foreach (var note in selected.Notes)
        {
            Console.WriteLine($"  {contender.Name}: {note}");
        }
    }

    public IEnumerable<IReadOnlyList<string>> ToTable()
    {
        yield return ["strategy", "images", "mislabelled", "off target", "seconds to pick", "accuracy", "spread"];
        foreach (var row in _rows)
        {
            yield return
            [
                row.Name, $"{row.Count:N0}", $"{row.Mislabelled:N0}", $"{row.OffTarget:N0}",
                row.Seconds is { } seconds ? $"{seconds:0.0}" : string.Empty, $"{row.Accuracy:0.0%}", $"{row.Spread:0.0%}",
            ];
        }
    }

    /// <summary>The mean influence on the target, by id.</summary>
    private double[] Relevance()
    {
        using var scope = TorchSharp.torch.NewDisposeScope();
        return knowledge.Scores.Values.mean([0L], type: TorchSharp.torch.ScalarType.Float64).data<double>().ToArray();
    }

    private SelectionPool Pool(Contender contender)
    {
        var scores = knowledge.Scores;
        return new SelectionPool(scores)
        {
            Features = contender.Compares switch
            {
                ComparedBy.Picture => knowledge.Pool.Representation,
                ComparedBy.Gradient => knowledge.Pool.Gradient,
                _ => null,
            },
            Tasks = ExampleGroups.Of(scores.QueryIds, pool.TargetTasks),
            Groups = contender.ByClass ? ExampleGroups.Of(scores.TrainIds, pool.GivenClasses) : null,
        };
    }

    private void Add(string name, IReadOnlyList<long> ids, IReadOnlyList<double> weights, double? seconds, int trainingSteps, CancellationToken cancellationToken)
    {
        var accuracies = new List<double>();
        for (var seed = 0; seed < options.Seeds; seed++)
        {
            var trainer = new ClassifierTrainer { Steps = trainingSteps, Seed = Randomness.SeedFor(options.Seed, $"training {seed}") };
            using var model = trainer.Train(pool.Images, pool.Labels, ids, weights, cancellationToken);
            accuracies.Add(ClassifierTrainer.Accuracy(model, pool.TestImages, pool.TestLabels, cancellationToken));
        }

        var mean = accuracies.Average();
        var row = new Row(name, ids.Count, ids.Count(pool.IsMislabelled), ids.Count(id => !pool.IsOnTarget(id)), seconds, mean, accuracies.Max() - accuracies.Min());
        _rows.Add(row);
        Console.WriteLine($"{name}: accuracy {mean:0.0%}");
    }

    private sealed record Row(string Name, int Count, int Mislabelled, int OffTarget, double? Seconds, double Accuracy, double Spread);
}
