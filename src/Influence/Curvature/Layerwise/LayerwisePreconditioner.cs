using System.Globalization;
using Influence.Display;
using Influence.Distributed;
using Influence.Gradients;
using TorchSharp;

namespace Influence.Curvature;

/// <summary>
/// Curvature layer by layer, with a basis in which it is diagonal: <see cref="Ekfac"/>, <see cref="Kfac"/>,
/// <see cref="DiagonalFisher"/>. Any damping can be applied to one fit.
/// </summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public abstract partial class LayerwisePreconditioner : Preconditioner, IDisplay
{
    private readonly BlockCurvature?[] _blocks;
    private (IReadOnlyList<(string Block, double Damping)> Of, double Count) _known = ([], 0);

    private protected LayerwisePreconditioner(CurvatureInfo info, BlockCurvature?[] blocks)
        : base(info) => _blocks = blocks;

    /// <summary>
    /// The mean eigenvalue of each block of parameters (a layer's weight with its bias), by their names; what a relative
    /// damping refers to.
    /// </summary>
    public IReadOnlyList<(string Parameters, double MeanEigenvalue)> MeanEigenvalues =>
        [.. _blocks.OfType<BlockCurvature>().Select(b => (b.Name, b.MeanEigenvalue))];

    internal IReadOnlyList<BlockCurvature?> Blocks => _blocks;

    /// <summary>How many directions the curvature takes as known at these dampings: the sum of eigenvalue / (eigenvalue +
    /// damping).</summary>
    internal double KnownDirections(IReadOnlyList<(string Block, double Damping)> dampings)
    {
        var known = _known;
        if (!known.Of.SequenceEqual(dampings))
        {
            var of = dampings.ToDictionary(d => d.Block, d => d.Damping);
            known = (
                [.. dampings],
                _blocks.OfType<BlockCurvature>().Sum(b => of.TryGetValue(b.Name, out var damping) ? b.KnownDirections(damping) : 0)
            );
            _known = known;
        }

        return known.Count;
    }

    /// <summary>Writes the fit as safetensors, with how it was made; read it again with <c>Load</c>.</summary>
    /// <param name="path">The file, ending in <c>.safetensors</c>.</param>
    /// <exception cref="InfluenceException">Another ending, or it cannot be written; nothing was changed.</exception>
    public void Save(string path) => LayerwiseFile.Save(path, Info, _blocks);

    private protected override Inverse PrepareInverse(GradientSession session, Damping? damping, double tolerance, CancellationToken token)
    {
        CheckWeights(session);
        return new LayerwiseInverse(_blocks, damping ?? Info.Damping, tolerance, session);
    }

    /// <summary>A table of the blocks with their mean eigenvalues and default damping.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        foreach (var block in _blocks)
        {
            block?.Dispose();
        }
    }

    private protected static (CurvatureInfo Info, BlockCurvature?[] Blocks) FitBlocks(
        string method,
        CurvatureKind kind,
        InfluenceTask task,
        Examples train,
        Options? options,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token
    )
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        InfluenceException.ThrowIfAny([.. train.Problems("training examples")]);
        options ??= new Options();
        InfluenceException.ThrowIfAny([.. options.Problems(kind)]);
        method = FactorSums.NameOf(method, options.Factors);
        using var scope = torch.NewDisposeScope();
        using var reporter = new ProgressReporter(progress, $"{method} fit", 1, (long)train.Count * options.LabelDraws, token);
        using var session = GradientSession.Open(task, train, queries: null, memory: options.MemoryBudget);
        var cost = CostModel.Of(session, train, options, kind);
        cost.RefuseAbove(options.MemoryBudget);
        var info = new CurvatureInfo
        {
            Method = method,
            Matrix = options.Matrix,
            Damping = options.Damping,
            Examples = train.Count,
            Seed = options.Seed,
            Weights = session.WeightsFingerprint(),
        };
        BlockCurvature?[] blocks;
        if (options.Work is { } work)
        {
            var units = new WorkUnits(train, work);
            using var folder = WorkFolder.Open(work, Manifest(method, info, session, train, units, options), token);
            folder.CheckRoom(cost.DiskBytes);
            (info, blocks) = LayerwiseFile.Load(
                LayerwiseFit.RunInUnits(session, train, options, kind, info, folder, units, reporter),
                [method],
                session.Device
            );
        }
        else
        {
            blocks = LayerwiseFit.Run(session, train, options, kind, reporter);
        }

        info = info with { Cost = ScoreMetadata.RunCost.OfCallUnderWay() };
        Log.Fitted(task.Logger, method, train.Count, reporter.Elapsed.TotalSeconds);
        var least = LayerwiseInverse.LeastCurvature(blocks, session.Dtype);
        foreach (
            var (name, k) in session
                .BlockNames.Select((name, k) => (name, k))
                .Where(b => blocks[b.k] is null || blocks[b.k]!.MeanEigenvalue <= least)
        )
        {
            Log.NoCurvature(task.Logger, name);
        }

        return (info, blocks);
    }

    private static WorkManifest Manifest(
        string method,
        CurvatureInfo info,
        GradientSession session,
        Examples train,
        WorkUnits units,
        Options options
    ) =>
        WorkManifest.Of(
            $"{method} fit",
            info.Weights,
            train,
            units,
            session.FirstLoss(train),
            ("the labels", info.Matrix),
            ("Damping", info.Damping.ToString()),
            ("Seed", info.Seed.ToString(CultureInfo.InvariantCulture)),
            ("MaximumFactorSize", options.MaximumFactorSize.ToString(CultureInfo.InvariantCulture)),
            (
                "OutputSplits",
                string.Join(
                    "; ",
                    options.OutputSplits.OrderBy(s => s.Key, StringComparer.Ordinal).Select(s => $"{s.Key}: {string.Join(", ", s.Value)}")
                )
            ),
            ("the examples' BatchSize", train.BatchSize.ToString(CultureInfo.InvariantCulture)),
            ("the numbers", session.Dtype.ToString())
        );

    private protected static CurvatureCost EstimateBlocks(CurvatureKind kind, InfluenceTask task, Examples train, Options? options)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        InfluenceException.ThrowIfAny([.. train.Problems("training examples"), .. (options ?? new Options()).Problems(kind)]);
        using var scope = torch.NewDisposeScope();

        options ??= new Options();
        using var reporter = new ProgressReporter(null, "estimate", 1, train.Count, CancellationToken.None);

        // The fit opens a session too, whose checks are no small part of the time where examples are few and the model is large.
        var (opened, opening) = SessionSample.Open(() => GradientSession.Open(task, train, queries: null, memory: options.MemoryBudget));
        using var session = opened;
        return CostModel.Of(session, train, options, kind).Timed(session, train, options, kind, opening, reporter);
    }

    private Table ToTable() =>
        new(
            $"{Info.Method}: {Info.Matrix}, {Info.Examples:N0} examples, damping {Info.Damping}",
            ["parameters", "mean eigenvalue", "default damping"],
            [.. MeanEigenvalues.Select(b => (IReadOnlyList<object>)[b.Parameters, b.MeanEigenvalue, Info.Damping.For(b.MeanEigenvalue)])]
        );
}
