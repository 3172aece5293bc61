using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Groups;
using Influence.Mixtures;
using Influence.Scorers;

namespace DataMixture;

/// <summary>How much the domains help the targets, at the model as it stands when this is made.</summary>
internal sealed class Measurement : IDisposable
{
    private const int BatchSize = 16;

    /// <summary>Parts of a domain for the standard errors; few, so that they fill batches.</summary>
    private const int Blocks = 4;

    /// <summary>Windows of a mixed group.</summary>
    private const int MixedWindows = 256;

    private readonly MixtureCorpus _corpus;
    private readonly int _seed;
    private readonly InfluenceTask _task;
    private readonly PassageTensors _windows;
    private readonly PassageTensors _queries;
    private readonly ExampleGroups _domains;
    private readonly ExampleGroups _targets;
    private readonly Preconditioner _curvature;

    /// <param name="corpus">Domains and targets.</param>
    /// <param name="model">In evaluation mode.</param>
    /// <param name="size">How much to look at.</param>
    /// <param name="seed">Decides which windows.</param>
    public Measurement(MixtureCorpus corpus, ByteDecoder model, MeasurementSize size, int seed)
    {
        (_corpus, _seed) = (corpus, seed);
        _task = new InfluenceTask(model)
        {
            TrainingLoss = b => Influence.Losses.CrossEntropy(model.call(b["input"]), b["target"], b["predicted"]),
        };
        var drawn = Draw(size.WindowsPerDomain);
        (_windows, _queries) = (new PassageTensors(drawn), new PassageTensors(corpus.Measured));
        _domains = ExampleGroups.Of(_windows.ToExamples(BatchSize).Ids, [.. drawn.Select(p => corpus.Domains[p.Domain].Name)]);
        _targets = ExampleGroups.Of(_queries.ToExamples(BatchSize).Ids, [.. corpus.Measured.Select(p => corpus.Targets[p.Domain].Name)]);

        // Evenly from all domains, not by the present mixture: a domain that it leaves out would lie where there is no curvature,
        // and the inverse would make its gradient, whatever it is about, look like a great help.
        using var forCurvature =
            size.CurvatureWindows == 0
                ? new PassageTensors([drawn[0]])
                : new PassageTensors([
                    .. new Mixture.Sampler(corpus.Groups, Mixture.Uniform(corpus.Groups.Names), seed) { Balanced = true }
                        .Take(size.CurvatureWindows)
                        .Select(id => corpus.Train[(int)id]),
                ]);
        _curvature =
            size.CurvatureWindows == 0
                ? NoCurvature.Fit(_task, forCurvature.ToExamples(BatchSize))
                : Ekfac.Fit(_task, forCurvature.ToExamples(BatchSize), new Ekfac.Options { Seed = seed });
    }

    /// <summary>The influence of each domain on each target.</summary>
    public GroupScores Scores(IProgress<InfluenceProgress>? progress, CancellationToken cancellationToken) =>
        new GroupInfluence(new InfluenceFunction(_curvature))
        {
            Tokens = b => b["predicted"].sum(-1),
            Blocks = Blocks,
            Seed = _seed,
        }.Score(_task, _windows.ToExamples(BatchSize), _domains, _queries.ToExamples(BatchSize), _targets, progress, cancellationToken);

    /// <summary>The mean loss of a byte of each target's measured windows, in nats.</summary>
    public double[] Losses(CancellationToken cancellationToken)
    {
        var losses = new ExampleLosses().Score(_task, _queries.ToExamples(BatchSize), cancellationToken: cancellationToken);
        return [.. _targets.Names.Select(name => _targets[name].Average(id => losses[(int)id]) / PassageTensors.Positions)];
    }

    /// <summary>
    /// From a mixture to the influence per token of windows drawn by it, target by target. The windows are scored once, so that
    /// each further mixture costs next to nothing.
    /// </summary>
    public Func<Mixture, double[]> OfMixedGroups(IProgress<InfluenceProgress>? progress, CancellationToken cancellationToken)
    {
        using var scores = new InfluenceFunction(_curvature).Score(
            _task,
            _windows.ToExamples(BatchSize),
            _queries.ToExamples(BatchSize),
            progress,
            cancellationToken
        );
        var windows = Enumerable.Range(0, scores.TrainIds.Count).ToArray();
        var byTarget = _targets
            .Names.Select(target =>
                windows.Select(window => _targets[target].Average(query => scores[(int)query, window]) / PassageTensors.Positions).ToArray()
            )
            .ToArray();
        var drawn = 0;
        return mixture =>
        {
            var group = new Mixture.Sampler(_domains, mixture, Randomness.SeedFor(_seed, $"mixed group {drawn++}"))
                .Take(MixedWindows)
                .ToArray();
            return [.. byTarget.Select(influence => group.Average(window => influence[window]))];
        };
    }

    public void Dispose()
    {
        _curvature.Dispose();
        _queries.Dispose();
        _windows.Dispose();
    }

    private List<Passage> Draw(int windowsPerDomain)
    {
        var drawn = new List<Passage>();
        foreach (var name in _corpus.Groups.Names)
        {
            var members = _corpus.Groups[name].ToArray();
            Randomness.For(_seed, $"measured windows of {name}").Shuffle(members);
            drawn.AddRange(members.Take(windowsPerDomain).Select(id => _corpus.Train[(int)id]));
        }

        return drawn;
    }
}
