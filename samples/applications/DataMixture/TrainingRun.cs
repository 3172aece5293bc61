using System.Diagnostics;
using Influence;
using Influence.Groups;
using Influence.Mixtures;

namespace DataMixture;

/// <summary>What one run by one method came to.</summary>
/// <param name="Method">The method.</param>
/// <param name="Seed">It decides the weights at the beginning and every draw.</param>
/// <param name="BitsPerByte">The loss on each target's windows that nothing else saw.</param>
/// <param name="Drawn">The shares of the domains among all windows trained on.</param>
/// <param name="History">The measurements.</param>
/// <param name="Training">The time without measuring.</param>
/// <param name="Measuring">The time of finding mixtures.</param>
internal sealed record TrainingRun(
    Method Method,
    int Seed,
    IReadOnlyList<double> BitsPerByte,
    Mixture Drawn,
    IReadOnlyList<RemeasuredMixture.Row> History,
    TimeSpan Training,
    TimeSpan Measuring
)
{
    public const int Layers = 1;
    public const int Width = 96;

    public static TrainingRun Of(
        Method method,
        MixtureCorpus corpus,
        Trainer trainer,
        int seed,
        IProgress<InfluenceProgress>? progress,
        CancellationToken cancellationToken
    )
    {
        var (all, measuring) = (Stopwatch.StartNew(), new Stopwatch());
        measuring.Start();
        var start = method.Find?.Invoke(new Trials(corpus, trainer.Steps, seed, cancellationToken)) ?? method.Start;
        measuring.Stop();
        using var model = ByteDecoder.Create(seed, Layers, Width);
        var sampler = new Mixture.Sampler(corpus.Groups, start, seed) { EpochLength = Mixture.Sampler.Endless, Balanced = true };
        var next = method.Begin?.Invoke() ?? method.Next;
        Measurement? measured = null;
        RemeasuredMixture? remeasured = null;
        remeasured = next is null
            ? null
            : new RemeasuredMixture(
                sampler,
                everySteps: (long)Math.Ceiling(trainer.Steps * method.Every),
                measure: Measure,
                optimize: (scores, present) => next(measured!, scores, present, progress, cancellationToken)
            );
        trainer.Train(model, corpus.Train, sampler, AfterStep, progress, cancellationToken);
        all.Stop();
        return new TrainingRun(
            method,
            seed,
            Judge.BitsPerByte(model, corpus),
            Mixture.Normalized(corpus.Groups.Names, [.. corpus.Groups.Names.Select(name => (double)sampler.Drawn[name])]),
            remeasured?.History ?? [],
            all.Elapsed - measuring.Elapsed,
            measuring.Elapsed
        );

        void AfterStep(int step)
        {
            if (remeasured is null || step == trainer.Steps)
            {
                return;
            }

            measuring.Start();
            if (!remeasured.Step() && step == method.FirstAt)
            {
                remeasured.Measure();
            }

            measured?.Dispose();
            measured = null;
            measuring.Stop();
        }

        GroupScores Measure()
        {
            model.eval();
            measured = new Measurement(corpus, model, method.Size, Randomness.SeedFor(seed, $"measurement {remeasured!.Steps}"));
            var scores = measured.Scores(progress, cancellationToken);
            model.train();
            return scores;
        }
    }

    public static long Parameters()
    {
        using var model = ByteDecoder.Create(seed: 0, Layers, Width);
        return model.ParameterCount;
    }
}
