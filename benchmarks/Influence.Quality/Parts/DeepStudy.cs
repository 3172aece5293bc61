using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Quality.Judging;
using Influence.Quality.Reporting;
using Influence.Quality.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Parts;

/// <summary>The methods on a network that is not convex: LDS on halves, and flipped labels where asked for.</summary>
internal static class DeepStudy
{
    public const long SubsetSeed = 1;
    public const long FirstModelSeed = 1000;

    public static Findings Run(PartContext context, SetUp setUp)
    {
        var study = new Study(context, setUp.Recipe, setUp.Data);
        var halves = study.Retrain("halves", Subsets.Half(setUp.Data.TrainIds, setUp.Halves, SubsetSeed), setUp.Seeds);
        long[] modelSeeds = [.. Enumerable.Range(0, setUp.Models).Select(m => FirstModelSeed + m)];
        TrainedModel[] runs = [.. modelSeeds.Select(study.Full)];
        context.Note($"{runs.Length} models trained on all examples");
        var (train, queries) = (setUp.Data.Train(setUp.BatchSize), setUp.Data.Queries(setUp.BatchSize));
        var judge = new Judge(context, halves, queries);
        using var model = runs[0].AtTheEnd();
        var damping = Score(setUp, TrainedModel.Task(model), runs, train, judge);
        var settings = FindingsBuilder.Settings(
            study,
            $"{halves.Subsets.Count} random halves, drawn with seed {SubsetSeed}",
            setUp.Seeds,
            modelSeeds
        );
        settings["ASTRA"] =
            $"{setUp.Astra.Iterations} steps on batches of {setUp.Astra.BatchSize}, step size by power iteration, "
            + $"momentum {setUp.Astra.Momentum}, halved every {setUp.Astra.HalveEvery}";
        settings["SOURCE"] =
            setUp.SourceEpochs.Count == 0
                ? "not run: its formula is that of SGD"
                : $"{setUp.SourceSegments} segments, checkpoints after epochs {string.Join(", ", setUp.SourceEpochs)}";
        settings["labels drawn for each example by K-FAC, EK-FAC and SOURCE"] = setUp.Curvature.LabelDraws.ToString(
            CultureInfo.InvariantCulture
        );
        if (setUp.FlippedLabels)
        {
            settings["flipped labels"] = FlippedLabels.Add(
                context,
                setUp.Recipe,
                setUp.Data,
                setUp.FewEpochs,
                judge,
                new Dictionary<string, Damping> { ["EK-FAC"] = damping }
            );
        }

        return new Findings(settings, FindingsBuilder.Facts(study, model, judge), study.Times, judge.Results, setUp.Published);
    }

    /// <returns>The damping chosen for EK-FAC of one model.</returns>
    private static Damping Score(SetUp setUp, InfluenceTask task, TrainedModel[] runs, Examples train, Judge judge)
    {
        var few = setUp.FewEpochs;
        judge.Add("TracIn, final weights", q => new TracIn().Score(task, train, q)).Dispose();
        judge.Add($"TracIn, {few.Count} checkpoints", q => new TracIn { Checkpoints = runs[0].After(few) }.Score(task, train, q)).Dispose();
        judge
            .Add("cosine, final weights", q => new TracIn { Similarity = TracIn.GradientSimilarity.Cosine }.Score(task, train, q))
            .Dispose();
        judge
            .Add(
                $"cosine, {few.Count} checkpoints",
                q => new TracIn { Similarity = TracIn.GradientSimilarity.Cosine, Checkpoints = runs[0].After(few) }.Score(task, train, q)
            )
            .Dispose();
        Curvature("K-FAC", setUp.RelativeDampings, () => Kfac.Fit(task, train, setUp.Curvature));
        Curvature("EK-FAC, one damping for all layers", setUp.AbsoluteDampings, () => Ekfac.Fit(task, train, setUp.Curvature));
        if (setUp.Curvature.LabelDraws > 1)
        {
            Curvature("EK-FAC, one label drawn for each example", setUp.RelativeDampings, () => Ekfac.Fit(task, train));
        }

        // Which Fisher matrix goes with checkpoints and ensembles is a choice like the damping: the held-out tenth makes it.
        var empirical = new Ekfac.Options { Fisher = Fisher.Empirical };
        var withSampled = Curvature("EK-FAC", setUp.RelativeDampings, () => Ekfac.Fit(task, train, setUp.Curvature));
        var withEmpirical = Curvature("EK-FAC, empirical Fisher", setUp.RelativeDampings, () => Ekfac.Fit(task, train, empirical));
        var ((damping, _), chosen, matrix) =
            withSampled.HeldOut >= withEmpirical.HeldOut
                ? (withSampled, setUp.Curvature, string.Empty)
                : (withEmpirical, empirical, ", empirical Fisher");
        using var members = new EkfacMembers(train, chosen, runs, [.. runs.Select(run => run.After(few))]);
        var ends = Enumerable.Range(0, runs.Length).Select(run => (run, -1)).ToList();
        var firstRun = few.Select((_, c) => (0, c)).ToList();
        var overCheckpoints = Dampings.Near(
            Members($"EK-FAC{matrix}, {few.Count} checkpoints of one run", firstRun, setUp.RelativeDampings)
        );
        AddSource(setUp, chosen, task, runs[..1], train, judge, $"SOURCE{matrix}, one run");
        foreach (var size in setUp.Ensembles)
        {
            Members($"EK-FAC{matrix}, {size} models", ends[..size], Dampings.Near(damping));
        }

        if (runs.Length > 1)
        {
            Members(
                $"EK-FAC{matrix}, {runs.Length} models, {few.Count} checkpoints each",
                [.. ends.SelectMany(end => few.Select((_, c) => (end.run, c)))],
                overCheckpoints
            );
            AddSource(setUp, chosen, task, runs, train, judge, $"SOURCE{matrix}, {runs.Length} models");
        }

        Astra(members.AtTheEnd(0));
        return damping;

        Damping Members(string name, IReadOnlyList<(int, int)> which, IReadOnlyList<Damping> dampings)
        {
            var (best, _, scores) = judge.Add(name, dampings, (d, q) => members.Mean(which, d, q));
            scores.Dispose();
            return best;
        }

        (Damping Damping, double HeldOut) Curvature(string name, IReadOnlyList<Damping> dampings, Func<Preconditioner> fit)
        {
            var (made, seconds) = Clocked.Run(fit);
            using var preconditioner = made;
            var (best, heldOut, scores) = judge.Add(
                name,
                dampings,
                (d, q) => new InfluenceFunction(preconditioner) { Damping = d }.Score(task, train, q),
                seconds
            );
            scores.Dispose();
            return (best, heldOut);
        }

        void Astra((InfluenceTask Task, Ekfac Fit) end)
        {
            using var astra = Influence.Curvature.Astra.Fit(end.Task, train, end.Fit, setUp.Astra);
            var dampings = setUp.AstraDampings ?? Dampings.Around(setUp.Recipe.ImpliedDamping(train.Count));
            judge.TryAdd(
                $"EK-FAC{matrix} + ASTRA",
                dampings,
                setUp.AstraQueries,
                (d, q) => new InfluenceFunction(astra) { Damping = d }.Score(end.Task, train, q)
            );
        }
    }

    private static void AddSource(
        SetUp setUp,
        Ekfac.Options curvature,
        InfluenceTask task,
        IReadOnlyList<TrainedModel> runs,
        Examples train,
        Judge judge,
        string name
    )
    {
        if (setUp.SourceEpochs.Count == 0)
        {
            return;
        }

        judge
            .Add(
                name,
                queries =>
                {
                    using var scope = NewDisposeScope();
                    Tensor? sum = null;
                    InfluenceScores? last = null;
                    foreach (var run in runs)
                    {
                        var source = new Source(run.Segments(setUp.SourceEpochs, setUp.SourceSegments))
                        {
                            Momentum = setUp.Recipe.Momentum,
                            WeightDecay = setUp.Recipe.WeightDecay,
                            Curvature = curvature,
                        };
                        last?.Dispose();
                        last = source.Score(task, train, queries);
                        sum = sum is null ? last.Values.clone() : sum.add_(last.Values); // [Q, N]
                    }

                    using (last)
                    {
                        return new InfluenceScores(sum!.MoveToOuterDisposeScope(), last!.QueryIds, last.TrainIds, last.Metadata);
                    }
                }
            )
            .Dispose();
    }
}
