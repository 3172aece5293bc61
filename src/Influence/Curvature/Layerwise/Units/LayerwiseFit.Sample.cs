using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>What a fit would take, from some of its batches: their sums, and their squares along bases that stand in for those of a whole
/// fit, since a product with a matrix takes as long whatever its numbers are.</summary>
internal sealed partial class LayerwiseFit
{
    /// <summary>A decomposition is measured at most at this size, and grows with the cube from there.</summary>
    private const long WidestMeasured = 1024;

    /// <summary>What the passes over all examples would take, and what the decompositions.</summary>
    /// <param name="session">An open session on the task.</param>
    /// <param name="train">N examples.</param>
    /// <param name="options">Labels, splits, sizes.</param>
    /// <param name="kind">What is measured.</param>
    /// <param name="progress">Told after each batch.</param>
    public static (Spent Passes, Spent Decompositions) Sample(
        GradientSession session,
        Examples train,
        LayerwisePreconditioner.Options options,
        CurvatureKind kind,
        ProgressReporter progress
    )
    {
        session.Losses.Seed = options.Seed;
        session.FindsReachedPositions = true;
        using var scope = NewDisposeScope();
        using var fit = new LayerwiseFit(session, train, options with { LabelDraws = 1 }, kind, progress, checkpoints: 1, load: null);
        fit.CheckSplits();
        var once = fit.OneCaptureServesBothPasses(options.LabelDraws);
        fit._train = train.Range(0, Math.Min(train.BatchSize, train.Count));
        fit.Capture(batch => fit.Visit(batch, first: true), null);
        var sizes = fit.StandIn();
        var passes = Spent.OfAll(
            train,
            part =>
            {
                fit._train = part;
                if (once)
                {
                    using var waiting = new JoinedBatches();
                    fit.Capture(_ => { }, waiting);
                    using var whole = waiting.Take();
                    fit.Visit(whole, first: true);
                    fit.Visit(whole, first: false);
                    return;
                }

                fit.Capture(batch => fit.Visit(batch, first: true), null);
                if (fit._fits.Any(own => own is { NeedsSecondPass: true }))
                {
                    fit.Capture(batch => fit.Visit(batch, first: false), null);
                }
            }
        );
        return (passes * options.LabelDraws, DecompositionsOf(sizes, session.Device));
    }

    private bool OneCaptureServesBothPasses(int draws)
    {
        foreach (var examples in _train.Batches().Take(1))
        {
            using var batch = _session.CaptureSample(examples.Pick([0]), _labels);
            return JoinedBatches.Takes(batch) && JoinedBatches.NumbersPerExample(batch) * _train.Count * draws <= Room;
        }

        return false;
    }

    /// <summary>Gives every block bases of the sizes that its sums have, and says which sizes are decomposed, each as often as it
    /// is.</summary>
    private List<long> StandIn()
    {
        var sums = new FitState.Shapes(_session.Dtype, _session.Device);
        Each(sums, FitStage.Sums);
        if (_kind != CurvatureKind.Diagonal)
        {
            Each(new FitState.StandIn(sums), FitStage.Bases);
        }

        return [.. sums.Decomposed()];

        void Each(FitState state, FitStage stage)
        {
            for (var k = 0; k < _fits.Length; k++)
            {
                state.Enter(k);
                _fits[k]?.Exchange(state, stage);
            }
        }
    }

    /// <summary>One decomposition of each power of two is measured, of a matrix whose eigenvalues are all different.</summary>
    private static Spent DecompositionsOf(List<long> sizes, Device device)
    {
        var all = Spent.Zero;
        foreach (var alike in sizes.GroupBy(size => (int)Math.Log2(Math.Min(size, WidestMeasured))))
        {
            using var scope = NewDisposeScope();
            var measured = Math.Min(alike.Max(), WidestMeasured);
            var x = SeededNumbers.Normal(seed: 1, measured, measured, ScalarType.Float64, device);
            var covariance = x.mm(x.t());
            var one = Spent.Least(() => FactorBasis.Of([covariance], ScalarType.Float32, device).Dispose());
            all += one * alike.Sum(size => Math.Pow(size / (double)measured, 3));
        }

        return all;
    }
}
