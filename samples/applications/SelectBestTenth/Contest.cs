using System.Diagnostics;
using Influence;
using Influence.Selection;
using TorchSharp;
using static TorchSharp.torch;

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
            new(new RelevantAndDiverse(), ComparedBy.Gradient),
            new(new RelevantAndDiverse { Beta = 0.25 }, ComparedBy.Gradient) { Label = "relevant and diverse, beta 1/4" },
            new(new Mmr(), ComparedBy.Gradient),
            new(new Dpp(), ComparedBy.Gradient),
            new(new FacilityLocation(), ComparedBy.Gradient),
            new(new KCenter(), ComparedBy.Picture),
            new(new Craig(), ComparedBy.Gradient, ByClass: true),
            new(new GradMatch { Target = TargetGradient() }, ComparedBy.Gradient) { Label = "GradMatch of the target" },
            new(new Deita(), ComparedBy.Picture) { Label = "DEITA of influence and loss", ByMetrics = true },
            new(new Topsis { Directions = [Topsis.Order.Higher, Topsis.Order.Lower] })
            {
                Label = "TOPSIS of influence and loss",
                ByMetrics = true,
            },
            new(new Quad { Oracle = ids => [.. ids.Select(id => relevance[id])] }, ComparedBy.Gradient),
            new(
                new DiversifyAndConquer { Reward = round => [.. round.Added.Select(id => relevance[id])], Temperature = spread },
                ComparedBy.Gradient
            ),
            new(new Ideal(), ComparedBy.Picture),
            new(new Gotd { Targets = knowledge.Target.Representation }, ComparedBy.Picture),
            new(new Gotd { Targets = knowledge.Target.Gradient }, ComparedBy.Gradient) { Label = "GOT-D on gradients" },
            new(new SslPrototypes(), ComparedBy.Picture) { Label = "SSL prototypes, hardest" },
            new(new SslPrototypes { Keep = SslPrototypes.Order.Easiest }, ComparedBy.Picture) { Label = "SSL prototypes, easiest" },
            new(new DensityPruning { Temperature = 0.05 }, ComparedBy.Picture),
        ];
    }

    /// <summary>What strategies are held against: no choice, more work, the target's own images, and the choice that nobody can
    /// make.</summary>
    public void HoldBaselines(CancellationToken cancellationToken)
    {
        long[] all = [.. Enumerable.Range(0, pool.Count)];
        Add("everything, as many steps", all, Ones(all.Length), null, steps, cancellationToken);
        Add("everything, ten times the steps", all, Ones(all.Length), null, 10 * steps, cancellationToken);
        long[] useful = [.. all.Where(id => pool.IsOnTarget(id) && !pool.IsMislabelled(id))];
        Add("all useful images (not known)", useful, Ones(useful.Length), null, steps, cancellationToken);
        var targets = (int)pool.TargetImages.shape[0];
        var accuracies = Accuracies(
            pool.TargetImages,
            pool.TargetLabels,
            [.. Enumerable.Range(0, targets)],
            Ones(targets),
            steps,
            cancellationToken
        );
        _rows.Add(new Row("the target's images alone", targets, 0, 0, null, accuracies));
    }

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
                row.Name,
                $"{row.Count:N0}",
                $"{row.Mislabelled:N0}",
                $"{row.OffTarget:N0}",
                row.Seconds is { } seconds ? $"{seconds:0.0}" : string.Empty,
                $"{row.Accuracies.Average():0.0%}",
                $"{row.Accuracies.Max() - row.Accuracies.Min():0.0%}",
            ];
        }
    }

    /// <summary>The mean influence on the target, by id.</summary>
    private double[] Relevance()
    {
        using var scope = NewDisposeScope();
        return knowledge.Scores.Values.mean([0L], type: ScalarType.Float64).data<double>().ToArray();
    }

    /// <summary>The share of the pool with less influence on the target: not negative, as products of metrics want it.</summary>
    private ExampleScores InfluenceRanks()
    {
        var relevance = Relevance();
        var ranks = new double[relevance.Length];
        foreach (var (rank, id) in Enumerable.Range(0, relevance.Length).OrderBy(i => relevance[i]).Index())
        {
            ranks[id] = (double)rank / relevance.Length;
        }

        return ExampleScores.Of(knowledge.Losses.Ids, ranks, "influence, as a rank");
    }

    /// <summary>The mean gradient of the target's images.</summary>
    private double[] TargetGradient()
    {
        using var scope = NewDisposeScope();
        return knowledge.Target.Gradient.mean([0L], type: ScalarType.Float64).data<double>().ToArray();
    }

    private SelectionPool Pool(Contender contender)
    {
        var scores = knowledge.Scores;
        var features = contender.Compares switch
        {
            ComparedBy.Picture => knowledge.Pool.Representation,
            ComparedBy.Gradient => knowledge.Pool.Gradient,
            _ => null,
        };
        return contender.ByMetrics
            ? new SelectionPool([InfluenceRanks(), knowledge.Losses]) { Features = features }
            : new SelectionPool(scores)
            {
                Features = features,
                Tasks = ExampleGroups.Of(scores.QueryIds, pool.TargetTasks),
                Groups = contender.ByClass ? ExampleGroups.Of(scores.TrainIds, pool.GivenClasses) : null,
            };
    }

    private static double[] Ones(int count) => [.. Enumerable.Repeat(1.0, count)];

    private void Add(
        string name,
        IReadOnlyList<long> ids,
        IReadOnlyList<double> weights,
        double? seconds,
        int trainingSteps,
        CancellationToken cancellationToken
    )
    {
        var accuracies = Accuracies(pool.Images, pool.Labels, ids, weights, trainingSteps, cancellationToken);
        _rows.Add(new Row(name, ids.Count, ids.Count(pool.IsMislabelled), ids.Count(id => !pool.IsOnTarget(id)), seconds, accuracies));
        Console.WriteLine($"{name}: accuracy {accuracies.Average():0.0%}");
    }

    private List<double> Accuracies(
        Tensor images,
        Tensor labels,
        IReadOnlyList<long> rows,
        IReadOnlyList<double> weights,
        int trainingSteps,
        CancellationToken cancellationToken
    )
    {
        var accuracies = new List<double>();
        for (var seed = 0; seed < Math.Max(1, options.Seeds); seed++)
        {
            var trainer = new ClassifierTrainer { Steps = trainingSteps, Seed = Randomness.SeedFor(options.Seed, $"training {seed}") };
            using var model = trainer.Train(images, labels, rows, weights, cancellationToken);
            accuracies.Add(ClassifierTrainer.Accuracy(model, pool.TestImages, pool.TestLabels, cancellationToken));
        }

        return accuracies;
    }

    private sealed record Row(string Name, int Count, int Mislabelled, int OffTarget, double? Seconds, IReadOnlyList<double> Accuracies);
}
