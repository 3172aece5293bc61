using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Quality.Judging;
using Influence.Quality.Reporting;
using Influence.Quality.Training;
using Influence.Stores;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Parts;

/// <summary>What can be asked of gradient stores, held against the same retrainings as W1's other methods, with each store's size and the
/// time of a query.</summary>
internal static class StoreStudy
{
    private const int Resamples = 100;
    private const string Size = "kB an example";
    private const string Query = "processor ms a query, scored beside all others";
    private const string Fidelity = "correlation with exact gradients' scores, mean over queries";

    /// <param name="context">Of this part.</param>
    /// <param name="of">The part whose trainings these are.</param>
    /// <param name="setUp">The set-up.</param>
    /// <param name="sides">Dimensions a side, ascending.</param>
    /// <param name="widest">Up to how many dimensions a side layers' Fisher matrices, k^2 by k^2, are inverted.</param>
    public static Findings Run(PartContext context, string of, Func<PartContext, SetUp> setUp, int[] sides, int widest)
    {
        // The trainings are that part's own.
        var own = context.Of(of);
        var found = setUp(own);
        var study = new Study(own, found.Recipe, found.Data);
        var halves = study.Retrain("halves", Subsets.Half(found.Data.TrainIds, found.Halves, DeepStudy.SubsetSeed), found.Seeds);
        long[] modelSeeds = [.. Enumerable.Range(0, found.Models).Select(m => DeepStudy.FirstModelSeed + m)];
        TrainedModel[] runs = [.. modelSeeds.Select(study.Full)];
        var folder = Directory.CreateTempSubdirectory("influence-store-study");
        var models = runs.Select(run => run.AtTheEnd()).ToList();
        try
        {
            var judge = new Judge(context, halves, found.Data.Queries(found.BatchSize), Resamples);
            using var one = new OneModel(
                context,
                found,
                models[0],
                judge,
                [.. models.Select(TrainedModel.Task)],
                found.Data.Train(found.BatchSize),
                folder.FullName
            )
            {
                Sides = context.Pick<int[]>(sides, [4, 8]),
                Widest = context.Pick(widest, 8),
            };
            one.Exact();
            one.Likeness();
            one.ByLayer();
            one.WithCurvature();
            one.Whole();
            one.Members(runs[0].After(found.FewEpochs), found.FewEpochs.Count);
            var settings = FindingsBuilder.Settings(
                study,
                $"{halves.Subsets.Count} random halves, drawn with seed {DeepStudy.SubsetSeed}",
                found.Seeds,
                modelSeeds
            );
            settings["stores"] =
                $"float32 unless another type is named; s: writing the store, fitting and scoring {judge.Reported.Count} queries; the cost "
                + "of a store that others share is counted again";
            settings["EK-FAC"] = "empirical Fisher matrix; where it is in stored gradients, and beside them, the default damping";
            return new Findings(settings, FindingsBuilder.Facts(study, models[0], judge), study.Times, judge.Results, []);
        }
        finally
        {
            models.ForEach(model => model.Dispose());
            folder.Delete(recursive: true);
        }
    }

    private sealed class OneModel(
        PartContext context,
        SetUp setUp,
        nn.Module<Tensor, Tensor> model,
        Judge judge,
        IReadOnlyList<InfluenceTask> tasks,
        Examples train,
        string folder
    ) : IDisposable
    {
        private static readonly Damping[] s_dampings = [.. new[] { 1, 0.1, 0.01 }.Select(Damping.RelativeToMeanEigenvalue)];
        private readonly Dictionary<string, (GradientStore Store, double Seconds)> _written = [];
        private Damping _trak = Damping.Default;
        private InfluenceScores? _dot;
        private InfluenceScores? _cosine;

        /// <summary>Dimensions a side.</summary>
        public required int[] Sides { get; init; }

        /// <summary>The most of them at which layers' Fisher matrices are inverted.</summary>
        public required int Widest { get; init; }

        private InfluenceTask Task => tasks[0];

        /// <summary>What the stores approximate.</summary>
        public void Exact()
        {
            _dot = judge.Add("TracIn, exact", q => new TracIn().Score(Task, train, q));
            _cosine = judge.Add("cosine, exact", q => new TracIn { Similarity = TracIn.GradientSimilarity.Cosine }.Score(Task, train, q));
        }

        /// <summary>What knows of no gradient: the last hidden state, the layers' inputs, and of texts hidden states pooled by
        /// position.</summary>
        public void Likeness()
        {
            judge.Add("embedding similarity", q => new EmbeddingSimilarity(b => Mean(Hidden(b))).Score(Task, train, q)).Dispose();
            judge.Add("activation similarity", q => new ActivationSimilarity().Score(Task, train, q)).Dispose();
            if (setUp.Data.TrainY.dim() > 1)
            {
                judge.Add("RDS+", q => new RdsPlus(Hidden).Score(Task, train, q)).Dispose();
            }

            static Tensor Mean(Tensor hidden) => hidden.dim() == 3 ? hidden.mean([1L]) : hidden;
        }

        public void ByLayer()
        {
            foreach (var k in Sides)
            {
                foreach (var form in new[] { GradientProjection.Kind.TwoSided, GradientProjection.Kind.Principal })
                {
                    var (store, seconds) = Write(new GradientProjection { Form = form, Dimension = k });
                    var name = $"{Name(form)}, {k} a side";
                    Keep($"{name}, dot product", store, seconds, q => new StoredGradients(store).Score(Task, q), _dot);
                    Keep(
                        $"{name}, cosine with exact norms",
                        store,
                        seconds,
                        q => new StoredGradients(store) { Similarity = TracIn.GradientSimilarity.Cosine }.Score(Task, q),
                        _cosine
                    );
                    Correlate($"{name}, cosine with the projection's own norms", ProjectedCosine(store), _cosine!);
                    if (k <= Widest)
                    {
                        judge
                            .Add($"{name}, LoGRA", s_dampings, (d, q) => new StoredGradients(store) { Damping = d }.Score(Task, q), seconds)
                            .Scores.Dispose();
                        judge.Add($"{name}, TrackStar", q => new TrackStar(store).Score(Task, train, q)).Dispose();
                        judge
                            .Add($"{name}, TrackStar, not mixed", q => new TrackStar(store) { Mixing = 0 }.Score(Task, train, q))
                            .Dispose();
                    }
                }
            }

            foreach (var type in new[] { ScalarType.Float16, ScalarType.Int8 })
            {
                var (store, seconds) = Write(new GradientProjection { Dimension = Sides[^1], Dtype = type });
                Keep(
                    $"two-sided, {Sides[^1]} a side, {type}, dot product",
                    store,
                    seconds,
                    q => new StoredGradients(store).Score(Task, q),
                    _dot
                );
            }
        }

        /// <summary>EK-FAC's curvature in the stored gradients, each side of a layer brought to few dimensions.</summary>
        public void WithCurvature()
        {
            var (fit, fitting) = Clocked.Run(() => Ekfac.Fit(Task, train, new Ekfac.Options { Fisher = Fisher.Empirical }));
            using (fit)
            {
                judge
                    .Add(
                        "EK-FAC, damping chosen",
                        [.. new[] { 1, 0.1, 0.01, 0.001, 0.0001, 0.00001 }.Select(Damping.RelativeToMeanEigenvalue)],
                        (d, q) => new InfluenceFunction(fit) { Damping = d }.Score(Task, train, q),
                        fitting
                    )
                    .Scores.Dispose();
                using var exact = judge.Add(
                    "EK-FAC, exact, one model",
                    q => new InfluenceFunction(fit) { Tolerance = 0 }.Score(Task, train, q)
                );
                foreach (var k in Sides)
                {
                    foreach (var form in new[] { GradientProjection.Kind.TwoSided, GradientProjection.Kind.Principal })
                    {
                        var projection = new GradientProjection
                        {
                            Form = form,
                            Dimension = k,
                            Direction = GradientProjection.UpdateDirection.Preconditioned,
                            Preconditioner = fit,
                        };
                        var (store, seconds) = Write(projection);
                        Keep(
                            $"{Name(form)}, {k} a side, EK-FAC in it, dot product",
                            store,
                            seconds + fitting,
                            q => new StoredGradients(store).Score(Task, q),
                            exact
                        );
                    }
                }
            }
        }

        public void Whole()
        {
            foreach (
                var (form, k) in new[]
                {
                    (GradientProjection.Kind.Dense, context.Pick(512, 64)),
                    (GradientProjection.Kind.CountSketch, context.Pick(512, 64)),
                    (GradientProjection.Kind.CountSketch, context.Pick(2048, 128)),
                }
            )
            {
                var (store, seconds) = Write(new GradientProjection { Form = form, Dimension = k });
                var name = $"{Name(form)}, {k}";
                Keep($"{name}, dot product", store, seconds, q => new StoredGradients(store).Score(Task, q), _dot);
                Keep($"{name}, TRAK, one model", store, seconds, q => new Trak(store).Score(Task, train, q), null);
                var (best, _, scores) = judge.Add(
                    $"{name}, TRAK, one model, damped",
                    s_dampings,
                    (d, q) => new Trak(store) { Damping = d }.Score(Task, train, q),
                    seconds
                );
                scores.Dispose();
                _trak = best;
            }
        }

        public void Members(IReadOnlyList<Checkpoint> checkpoints, int count)
        {
            judge.Add($"TracIn, exact, {count} checkpoints", q => new TracIn { Checkpoints = checkpoints }.Score(Task, train, q)).Dispose();
            if (setUp.Recipe.Adam)
            {
                Less(checkpoints, count);
            }

            var sketch = new GradientProjection { Form = GradientProjection.Kind.CountSketch, Dimension = context.Pick(2048, 128) };
            var (members, seconds) = Clocked.Run(() => GradientStore.WriteMembers(tasks, train, sketch, Path.Combine(folder, "models")));
            Keep(
                $"count sketch, {sketch.Dimension}, TRAK, ensemble of {members.Count}",
                members[0],
                seconds,
                q => new Trak(members) { OtherModels = tasks }.Score(Task, train, q),
                null
            );
            judge
                .Add(
                    $"count sketch, {sketch.Dimension}, TRAK, ensemble of {members.Count}, damped as one model",
                    q => new Trak(members) { OtherModels = tasks, Damping = _trak }.Score(Task, train, q)
                )
                .Dispose();
            var sided = new GradientProjection { Dimension = context.Pick(32, 8) };
            var (run, runSeconds) = Clocked.Run(() =>
                GradientStore.WriteMembers(Task, checkpoints, train, sided, Path.Combine(folder, "run"))
            );
            Keep(
                $"two-sided, {sided.Dimension} a side, TracIn, {count} checkpoints",
                run[0],
                runSeconds,
                q => new StoredGradients(run) { Checkpoints = checkpoints }.Score(Task, train, q),
                null
            );
            judge
                .Add(
                    $"two-sided, {sided.Dimension} a side, LoGRA, {count} checkpoints",
                    s_dampings,
                    (d, q) => new StoredGradients(run) { Checkpoints = checkpoints, Damping = d }.Score(Task, train, q),
                    runSeconds
                )
                .Scores.Dispose();
        }

        /// <summary>Adam's updates of training examples against queries' gradients, by their cosines: exact, and stored.</summary>
        private void Less(IReadOnlyList<Checkpoint> checkpoints, int count)
        {
            using var exact = judge.Add(
                $"LESS, exact, {count} checkpoints",
                q =>
                    new TracIn
                    {
                        Checkpoints = checkpoints,
                        Direction = TracIn.UpdateDirection.Less,
                        Similarity = TracIn.GradientSimilarity.Cosine,
                    }.Score(Task, train, q)
            );
            foreach (var k in Sides)
            {
                var projection = new GradientProjection { Dimension = k, Direction = GradientProjection.UpdateDirection.AdamUpdate };
                var (members, seconds) = Clocked.Run(() =>
                    GradientStore.WriteMembers(Task, checkpoints, train, projection, Path.Combine(folder, $"less-{k}"))
                );
                Keep(
                    $"two-sided, {k} a side, LESS, {count} checkpoints",
                    members[0],
                    seconds,
                    q =>
                        new StoredGradients(members) { Checkpoints = checkpoints, Similarity = TracIn.GradientSimilarity.Cosine }.Score(
                            Task,
                            train,
                            q
                        ),
                    exact
                );
            }
        }

        /// <summary>What the last linear layer reads.</summary>
        private Tensor Hidden(ExampleBatch batch)
        {
            var last = (nn.Module<Tensor, Tensor>)model.named_modules().Last(child => child.module is TorchSharp.Modules.Linear).module;
            Tensor? read = null;
            var hook = last.register_forward_pre_hook(
                (_, input) =>
                {
                    read = input.alias();
                    return input.alias();
                }
            );
            try
            {
                model.call(batch["x"]);
                return read!;
            }
            finally
            {
                hook.remove();
            }
        }

        public void Dispose()
        {
            _dot?.Dispose();
            _cosine?.Dispose();
        }

        private static string Name(GradientProjection.Kind form) =>
            form switch
            {
                GradientProjection.Kind.TwoSided => "two-sided",
                GradientProjection.Kind.Principal => "principal",
                GradientProjection.Kind.Dense => "dense",
                _ => "count sketch",
            };

        private (GradientStore Store, double Seconds) Write(GradientProjection projection)
        {
            var path = Path.Combine(
                folder,
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{projection.Form}-{projection.Dimension}-{projection.Dtype}-{projection.Direction}"
                )
            );
            if (!_written.TryGetValue(path, out var made))
            {
                var (store, seconds) = Clocked.Run(() => GradientStore.Write(Task, train, projection, path));
                _written.Add(path, made = (store, seconds));
                context.Note($"{store} in {seconds:F1} s");
            }

            return made;
        }

        /// <summary>The LDS, the store's size, a query's time, and how near the scores are to the exact ones.</summary>
        private void Keep(string method, GradientStore store, double seconds, Func<Examples, InfluenceScores> score, InfluenceScores? exact)
        {
            var perQuery = 0.0;
            var scores = judge.Add(
                method,
                queries =>
                {
                    var before = Environment.CpuUsage.TotalTime;
                    var made = score(queries);
                    perQuery = (Environment.CpuUsage.TotalTime - before).TotalMilliseconds / queries.Count;
                    return made;
                }
            );
            var bytes = Directory.EnumerateFiles(store.Folder).Sum(file => new FileInfo(file).Length) / (double)store.Ids.Count;
            Plain(Size, method, bytes / 1e3, seconds);
            Plain(Query, method, perQuery, seconds);
            if (exact is not null)
            {
                using var values = scores.Values.alias();
                Correlate(method, values, exact);
            }

            scores.Dispose();
        }

        private void Correlate(string method, Tensor scores, InfluenceScores exact)
        {
            using var scope = NewDisposeScope();
            var (a, b) = (Centred(scores), Centred(exact.Values));
            Plain(Fidelity, method, (a * b).sum(1).mean().item<double>(), 0);

            static Tensor Centred(Tensor values)
            {
                var rows = values.to_type(ScalarType.Float64);
                rows -= rows.mean([1], keepdim: true);
                return rows / rows.norm(1, keepdim: true, p: 2);
            }
        }

        /// <summary>p(q) . p(z) / (|p(q)| |p(z)|), whose lengths carry the projection's error too. Queries' lengths drop out of
        /// correlations by query.</summary>
        private Tensor ProjectedCosine(GradientStore store)
        {
            using var scores = new StoredGradients(store).Score(Task, judge.Reported);
            var lengths = new List<Tensor>();
            store.Read((_, rows, _) => lengths.Add(rows.norm(1, keepdim: false, p: 2).DetachFromDisposeScope()), default);
            return scores.Values / cat(lengths, 0).unsqueeze(0);
        }

        private void Plain(string metric, string method, double value, double seconds) =>
            judge.Add(metric, method, new Estimate(value, double.NaN, double.NaN), judge.Reported.Count, seconds: seconds);
    }
}
