using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Quality.Judging;
using Influence.Quality.Reporting;
using Influence.Quality.Training;
using Influence.Scorers;
using Influence.Stores;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Parts;

/// <summary>
/// Every estimator and every baseline on a model that AdamW trained: LDS on halves, query loss differences and small removals of the scored
/// run itself, and what the optimizer's own form of a method gains.
/// </summary>
internal static class AdamStudy
{
    private const int SourceSegments = 3;
    private const string Ekfac1 = "EK-FAC";
    private const string Fisher1 = "EK-FAC, empirical Fisher";
    private const string SourceOfSgd = "SOURCE, one run";
    private const string SourceFlow = "SOURCE, one run, optimizer's flow";
    private const string ExactMagic = "MAGIC";
    private const string AdamWInfluence = "AdamW-influence (MAGIC with the empirical Fisher)";

    public static Findings Run(PartContext context, AdamSetUp setUp)
    {
        var study = new Study(context, setUp.Recipe, setUp.Data);
        var halves = study.Retrain("halves", Subsets.Half(setUp.Data.TrainIds, setUp.Halves, DeepStudy.SubsetSeed), setUp.Seeds);
        long[] modelSeeds = [.. Enumerable.Range(0, setUp.Models).Select(m => DeepStudy.FirstModelSeed + m)];
        TrainedModel[] runs = [.. modelSeeds.Select(study.Full)];
        context.Note($"{runs.Length} models trained on all examples");
        var (train, queries) = (setUp.Data.Train(), setUp.Data.Queries());
        var judge = new Judge(context, halves, queries);
        using var model = runs[0].AtTheEnd();
        using var scored = new ScoredMethods();
        var methods = new Methods(context, study, setUp, TrainedModel.Task(model), model, runs, train, judge, scored);
        methods.FirstOrder();
        methods.AdamForms();
        methods.Curvatures();
        methods.Baselines();
        methods.ByMagic();
        context.Note(
            FindingsBuilder.Facts(study, model, judge).Aggregate(string.Empty, (text, fact) => $"{text}{fact.Key}: {fact.Value}; ")
        );

        var settings = FindingsBuilder.Settings(
            study,
            $"{halves.Subsets.Count} random halves, drawn with seed {DeepStudy.SubsetSeed}",
            setUp.Seeds,
            modelSeeds
        );
        QueryLosses? losses = null;
        if (setUp.QldQueries > 0)
        {
            losses = new QueryLosses(context, study, judge, judge.Few(setUp.QldQueries).Ids, DeepStudy.FirstModelSeed);
            foreach (var (name, scores) in scored.All)
            {
                losses.Add(name, scores);
            }

            var (random, lower, upper) = losses.AtRandom;
            settings["QLD"] =
                $"{losses}; without random hundredths the loss rises by {1000 * random:F3} [{1000 * lower:F3}, "
                + $"{1000 * upper:F3}] thousandths";
        }

        AdamPair.Add(Methods.Pairs(setUp), judge, halves, scored, losses, new Bootstrap { Resamples = context.Pick(1000, 100) });
        if (setUp.SmallRemovals > 0)
        {
            settings["small removals"] = SmallRemovals(context, setUp, study, judge, scored);
        }

        settings["SOURCE"] = $"{SourceSegments} segments, checkpoints after epochs {string.Join(", ", setUp.SourceEpochs)}";
        settings["labels drawn for each example by the sampled Fisher matrix"] = setUp.Curvature.LabelDraws.ToString(
            CultureInfo.InvariantCulture
        );
        if (setUp.FlippedLabels)
        {
            settings["flipped labels"] = AdamLabels.Add(context, setUp, judge, scored.Dampings[Ekfac1], DeepStudy.FirstModelSeed);
        }

        var facts = FindingsBuilder.Facts(study, model, judge);
        if (setUp.Facts.Length > 0)
        {
            facts["data"] = setUp.Facts;
        }

        if (setUp.MagicQueries > 0)
        {
            facts["metasmoothness of the scored run, Adam's epsilon as trained"] = methods
                .Smoothness(setUp.Recipe.AdamEpsilon)
                .ToString("F3", CultureInfo.InvariantCulture);
        }

        return new Findings(settings, facts, study.Times, judge.Results, setUp.Published);
    }

    /// <summary>Random hundredths left out of the scored run: what its derivative should predict.</summary>
    private static string SmallRemovals(PartContext context, AdamSetUp setUp, Study study, Judge judge, ScoredMethods scored)
    {
        var runs = study.Retrain(
            "drops",
            Subsets.Random(setUp.Data.TrainIds, 0.99, setUp.SmallRemovals, DeepStudy.SubsetSeed),
            [DeepStudy.FirstModelSeed],
            holes: true
        );
        var ids = judge.Few(setUp.MagicQueries).Ids;
        var lds = new Lds { Bootstrap = new Bootstrap { Resamples = context.Pick(1000, 100) } };
        foreach (var (name, scores) in scored.All)
        {
            using var own = EachQuery.Some(scores, ids);
            judge.Add("LDS, hundredths left out of the scored run itself", name, lds.Evaluate(own, runs).Mean, ids.Count);
        }

        return $"{setUp.SmallRemovals} random hundredths left out of the run with seed {DeepStudy.FirstModelSeed}, with weight 0 in its "
            + "own batches";
    }

    /// <summary>The methods, in the order of the table.</summary>
    private sealed class Methods(
        PartContext context,
        Study study,
        AdamSetUp setUp,
        InfluenceTask task,
        nn.Module<Tensor, Tensor> model,
        TrainedModel[] runs,
        Examples train,
        Judge judge,
        ScoredMethods scored
    )
    {
        private readonly IReadOnlyList<int> _few = setUp.FewEpochs;

        /// <summary>Which rows are held against each other: a new form of a method needs its name here, and its call in
        /// <see cref="AdamForms"/>.</summary>
        public static IEnumerable<AdamPair> Pairs(AdamSetUp setUp) =>
            [
                new("TracIn, final weights, optimizer's direction", "TracIn, final weights"),
                new($"TracIn, {setUp.FewEpochs.Count} checkpoints, optimizer's direction", $"TracIn, {setUp.FewEpochs.Count} checkpoints"),
                new(
                    $"TracIn, {setUp.Models} models, {setUp.FewEpochs.Count} checkpoints each, optimizer's direction",
                    $"TracIn, {setUp.Models} models, {setUp.FewEpochs.Count} checkpoints each"
                ),
                new(SourceFlow, SourceOfSgd),
                new($"{SourceFlow}, diagonal propagator", SourceOfSgd),
                new(Fisher1, Ekfac1),
                new(AdamWInfluence, ExactMagic),
                new(ExactMagic, Fisher1),
            ];

        public void FirstOrder()
        {
            var cosine = TracIn.GradientSimilarity.Cosine;
            Add("TracIn, final weights", q => new TracIn().Score(task, train, q));
            Add($"TracIn, {_few.Count} checkpoints", q => new TracIn { Checkpoints = runs[0].After(_few) }.Score(task, train, q));
            Add(
                $"TracIn, {runs.Length} models, {_few.Count} checkpoints each",
                q => EachQuery.Sum(runs, run => new TracIn { Checkpoints = run.After(_few) }.Score(task, train, q))
            );
            Add("cosine, final weights", q => new TracIn { Similarity = cosine }.Score(task, train, q));
            Add(
                $"cosine, {_few.Count} checkpoints",
                q => new TracIn { Similarity = cosine, Checkpoints = runs[0].After(_few) }.Score(task, train, q)
            );
            Add(
                SourceOfSgd,
                q => new Source(runs[0].Segments(setUp.SourceEpochs, SourceSegments)) { Curvature = setUp.Curvature }.Score(task, train, q)
            );
        }

        /// <summary>The optimizer's own forms.</summary>
        public void AdamForms()
        {
            var own = TracIn.UpdateDirection.Optimizer;
            Add(
                "TracIn, final weights, optimizer's direction",
                q => new TracIn { Checkpoints = [runs[0].Checkpoints[^1]], Direction = own }.Score(task, train, q)
            );
            Add(
                $"TracIn, {_few.Count} checkpoints, optimizer's direction",
                q => new TracIn { Checkpoints = runs[0].After(_few), Direction = own }.Score(task, train, q)
            );
            Add(
                $"TracIn, {runs.Length} models, {_few.Count} checkpoints each, optimizer's direction",
                q => EachQuery.Sum(runs, run => new TracIn { Checkpoints = run.After(_few), Direction = own }.Score(task, train, q))
            );
            var source = new Source(runs[0].Segments(setUp.SourceEpochs, SourceSegments)) { Curvature = setUp.Curvature, Direction = own };
            Add(SourceFlow, q => source.Score(task, train, q));
            Add(
                $"{SourceFlow}, diagonal propagator",
                q => (source with { Propagate = Source.Approximation.Diagonal }).Score(task, train, q)
            );
        }

        public void Curvatures()
        {
            var empirical = new Ekfac.Options { Fisher = Fisher.Empirical };
            IReadOnlyList<Damping> coarse = [.. setUp.Dampings.Where((_, i) => i % 2 == 0)];
            Curvature("diagonal Fisher", setUp.Dampings, () => DiagonalFisher.Fit(task, train, setUp.Curvature));
            Curvature("K-FAC", setUp.Dampings, () => Kfac.Fit(task, train, setUp.Curvature));
            var withSampled = Curvature(Ekfac1, setUp.Dampings, () => Ekfac.Fit(task, train, setUp.Curvature));
            var withEmpirical = Curvature(Fisher1, setUp.Dampings, () => Ekfac.Fit(task, train, empirical));
            Curvature("DataInf", [.. Dampings.RelativeBelow(0.1).Where((_, i) => i % 2 == 0)], () => DataInf.Fit(task, train));
            Store("LoGRA, 64 dimensions a side", coarse);

            // As in the other deep set-ups, the held-out tenth chooses which Fisher matrix goes with checkpoints and models.
            var (chosen, matrix) = withSampled >= withEmpirical ? (setUp.Curvature, string.Empty) : (empirical, ", empirical Fisher");
            using var members = new EkfacMembers(train, chosen, runs, [.. runs.Select(run => run.After(_few))]);
            var ends = Enumerable.Range(0, runs.Length).Select(run => (run, -1)).ToList();
            Members($"EK-FAC{matrix}, {_few.Count} checkpoints of one run", [.. _few.Select((_, c) => (0, c))]);
            Members($"EK-FAC{matrix}, {runs.Length} models", ends);
            Members(
                $"EK-FAC{matrix}, {runs.Length} models, {_few.Count} checkpoints each",
                [.. ends.SelectMany(end => _few.Select((_, c) => (end.run, c)))]
            );

            void Members(string name, IReadOnlyList<(int, int)> which) =>
                scored.Keep(name, judge.Add(name, coarse, (d, q) => members.Mean(which, d, q)));
        }

        public void Baselines()
        {
            Tensor Embed(ExampleBatch b) => setUp.Embedding(model, b["x"]);
            Tensor Features(ExampleBatch b)
            {
                var inputs = setUp.LastInputs(model, b["x"]); // [B, H]
                return cat([inputs, ones([inputs.shape[0], 1], inputs.dtype)], 1); // a column for the bias
            }

            if (setUp.Texts is { } texts)
            {
                Add("BM25", q => new Bm25(id => texts.Train[(int)id], id => texts.Queries[(int)id]).Score(task, train, q));
            }

            Add("same label", SameLabel);
            Add("embedding similarity", q => new EmbeddingSimilarity(Embed).Score(task, train, q));
            Add("activation similarity", q => new ActivationSimilarity().Score(task, train, q));
            Add("KNN-Shapley", q => new KnnShapley(Embed, b => b["y"]).Score(task, train, q));
            Add(
                "representer points",
                q => new RepresenterPoints(Features, b => model.call(b["x"])) { QueryClass = b => b["y"] }.Score(task, train, q)
            );
            Add("gradient norm, the same for every query", q => EachQuery.Same(new GraNd().Score(task, train), q));
            Add("loss, the same for every query", q => EachQuery.Same(new ExampleLosses().Score(task, train), q));
            if (setUp.Texts is { } words)
            {
                var lengths = ExampleScores.Of(train.Ids, [.. words.Train.Select(t => 1.0 + t.Count(c => c == ' '))], "Length");
                Add("length, the same for every query", q => EachQuery.Same(lengths, q));
            }
        }

        /// <summary>1 for a training example of the query's class, else 0: the balance of classes in a subset, and nothing else.</summary>
        private InfluenceScores SameLabel(Examples queries)
        {
            using var scope = NewDisposeScope();
            var wanted = setUp.Data.QueryY.index_select(0, tensor(queries.Ids.ToArray())); // [Q]
            var same = wanted.unsqueeze(1).eq(setUp.Data.TrainY.unsqueeze(0)).to_type(ScalarType.Float64); // [Q, N]
            var metadata = new ScoreMetadata { Estimator = "same label", Unit = "1 for the query's class" };
            return new InfluenceScores(same.MoveToOuterDisposeScope(), queries.Ids, train.Ids, metadata);
        }

        public void ByMagic()
        {
            if (setUp.MagicQueries > 0)
            {
                Add(ExactMagic, setUp.MagicQueries, q => Replayed(setUp.Recipe.AdamEpsilon, (run, fresh) => run.Score(fresh, train, q)));
                Add(
                    AdamWInfluence,
                    setUp.MagicQueries,
                    q =>
                        Replayed(
                            setUp.Recipe.AdamEpsilon,
                            (run, fresh) => (run with { Curvature = Magic.Approximation.EmpiricalFisher }).Score(fresh, train, q)
                        )
                );
            }
        }

        public double Smoothness(double epsilon) => Replayed(epsilon, (run, fresh) => run.Metasmoothness(fresh, train));

        /// <summary>The scored run, from its first weights, in float64.</summary>
        private T Replayed<T>(double epsilon, Func<Magic, InfluenceTask, T> action)
        {
            manual_seed(DeepStudy.FirstModelSeed);
            using var fresh = setUp.Recipe.Create();
            fresh.to(ScalarType.Float64);
            fresh.eval();
            var run = new Magic
            {
                Batches =
                [
                    .. Enumerable
                        .Range(0, setUp.Recipe.Epochs)
                        .SelectMany(epoch =>
                            BatchOrder.Batches(setUp.Data.TrainIds, DeepStudy.FirstModelSeed, epoch, setUp.Recipe.BatchSize)
                        ),
                ],
                LearningRates = [setUp.Recipe.LearningRate],
                Update = new Magic.AdamW { WeightDecay = setUp.Recipe.WeightDecay, Epsilon = epsilon },
            };
            return action(run, TrainedModel.Task(fresh));
        }

        private void Add(string name, Func<Examples, InfluenceScores> score) => scored.Keep(name, judge.Add(name, score));

        private void Add(string name, int most, Func<Examples, InfluenceScores> score) =>
            scored.Keep(
                name,
                judge.Add(name, most, Path.Combine(context.Cache, $"scores-{study.Key($"{name}; {most}")}", "scores.safetensors"), score)
            );

        /// <returns>The figure on the held-out tenth at the damping that was chosen.</returns>
        private double Curvature(string name, IReadOnlyList<Damping> dampings, Func<Preconditioner> fit)
        {
            var (made, seconds) = Clocked.Run(fit);
            using var preconditioner = made;
            var found = judge.Add(
                name,
                dampings,
                (d, q) => new InfluenceFunction(preconditioner) { Damping = d }.Score(task, train, q),
                seconds
            );
            scored.Keep(name, found);
            return found.HeldOut;
        }

        private void Store(string name, IReadOnlyList<Damping> dampings)
        {
            var folder = Path.Combine(context.Cache, "store");
            if (Directory.Exists(folder))
            {
                Directory.Delete(folder, recursive: true);
            }

            var (store, seconds) = Clocked.Run(() => GradientStore.Write(task, train, new GradientProjection { Dimension = 64 }, folder));
            scored.Keep(name, judge.Add(name, dampings, (d, q) => new StoredGradients(store) { Damping = d }.Score(task, q), seconds));
        }
    }
}
