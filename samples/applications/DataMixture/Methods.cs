using Influence.Groups;
using Influence.Mixtures;

namespace DataMixture;

/// <summary>The five that are compared, and four more that take longer.</summary>
internal static class Methods
{
    /// <summary>TiKMiX weighs the sum over targets against entropy, as set for nine targets; over two the sum needs more weight.</summary>
    private const double Beta = 2;

    /// <summary>The most passes over a domain.</summary>
    private const double Epochs = 6;

    private const double DogeRate = 0.2;

    /// <summary>Trial trainings of RegMix, and of CLIMB's three rounds.</summary>
    private const int RegMixTrials = 12;
    private static readonly int[] s_climbRounds = [5, 4, 3];

    public static IReadOnlyList<Method> All(MixtureCorpus corpus, long tokens, bool quick, bool searches)
    {
        var names = corpus.Groups.Names;
        var uniform = Mixture.Uniform(names);
        var bounds = MixtureBounds.Epochs(
            [
                .. names.Select(name => new GroupScores.Row(
                    name,
                    corpus.Groups[name].Count,
                    (double)corpus.Groups[name].Count * PassageTensors.Positions
                )),
            ],
            tokens,
            Epochs
        );
        var size = quick
            ? new MeasurementSize(WindowsPerDomain: 24, CurvatureWindows: 128)
            : new(WindowsPerDomain: 48, CurvatureWindows: 256);
        var d = new TikmixD { Beta = Beta, Bounds = bounds };
        // Its objective has no entropy: what keeps it from a single domain is a box close around TiKMiX-D's mixture.
        var m = new TikmixM { Reach = 1.25, Margin = 0.01 };
        var doge = new Doge { LearningRate = DogeRate };
        Method[] searched =
        [
            new("Skill-It", uniform)
            {
                Size = size with { WindowsPerDomain = size.WindowsPerDomain / 3, CurvatureWindows = 0 },
                Every = 0.1,
                Begin = BeginSkillIt,
            },
            new("RegMix", uniform)
            {
                Find = trials =>
                    new RegMix { Mixtures = RegMixTrials, Seed = trials.Seed }
                        .Optimize(uniform, trials.Loss)
                        .Mixture,
            },
            new("CLIMB", uniform)
            {
                Find = trials =>
                    new MixtureSearch { Rounds = s_climbRounds, Seed = trials.Seed }
                        .Optimize(uniform, trials.Loss)
                        .Mixture,
            },
            new("ScaleBiO", uniform) { Find = trials => trials.ScaleBio(uniform) },
        ];
        return
        [
            new("uniform", uniform),
            new("natural", Mixture.Proportional(corpus.Groups)),
            new("TiKMiX-D", uniform) { Size = size, Next = (_, scores, _, _, _) => d.Optimize(scores, uniform).Mixture },
            new("TiKMiX-M", uniform)
            {
                Size = size,
                Next = (measurement, scores, _, progress, token) =>
                    m.Optimize(
                        scores,
                        d.Optimize(scores, uniform).Mixture,
                        uniform,
                        measurement.OfMixedGroups(progress, token),
                        token
                    ).Mixture,
            },
            new("DoGE", uniform)
            {
                Size = size with { WindowsPerDomain = size.WindowsPerDomain / 3, CurvatureWindows = 0 },
                Every = 0.1,
                Next = (_, scores, present, _, _) => doge.Update(scores, present),
            },
            .. searches ? searched : [],
        ];

        Method.NextMixture BeginSkillIt()
        {
            // The graph of the first measurement; afterwards it follows the losses.
            SkillIt? skillIt = null;
            return (measurement, scores, _, _, token) =>
            {
                skillIt ??= SkillIt.FromInfluence(scores, uniform, relativeToFirst: true);
                return skillIt.Update(measurement.Losses(token));
            };
        }
    }
}
