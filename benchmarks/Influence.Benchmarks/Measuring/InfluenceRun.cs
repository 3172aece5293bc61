using Influence.Benchmarks.Workloads;
using Influence.Curvature;
using Influence.Estimators;

namespace Influence.Benchmarks.Measuring;

/// <summary>Fits and scores with K-FAC and EK-FAC, each step on its own; scores take the latest fit.</summary>
internal sealed class InfluenceRun(Workload workload, DeviceClock clock) : IDisposable
{
    private const int Strongest = 100;

    private Kfac? _kfac;
    private Ekfac? _ekfac;

    /// <summary>Every step, fits before the scores that need them; long ones in fewer rounds.</summary>
    public IReadOnlyList<Work> Works =>
        [
            Step(Measurement.KfacFit, FitKfac),
            Step(Measurement.KfacPairs, () => Score(new InfluenceFunction(_kfac!))),
            Step(Measurement.KfacStrongest, () => FindStrongest(new InfluenceFunction(_kfac!))),
            Step(Measurement.EkfacFit, FitEkfac),
            Step(Measurement.EkfacPairs, () => Score(new InfluenceFunction(_ekfac!))),
            Step(Measurement.EkfacStrongest, () => FindStrongest(new InfluenceFunction(_ekfac!))),
            Step(Measurement.EkfacExact, () => Score(new InfluenceFunction(_ekfac!) { Tolerance = 0 }), minimumRuns: 1),
            Step(Measurement.EkfacSelf, () => new InfluenceFunction(_ekfac!).SelfInfluence(workload.Task, workload.TrainExamples)),
        ];

    /// <summary>A fit and all pairs with it.</summary>
    public void FitAndScoreKfac()
    {
        FitKfac();
        Score(new InfluenceFunction(_kfac!));
    }

    /// <inheritdoc cref="FitAndScoreKfac"/>
    public void FitAndScoreEkfac()
    {
        FitEkfac();
        Score(new InfluenceFunction(_ekfac!));
    }

    public void Dispose()
    {
        _kfac?.Dispose();
        _ekfac?.Dispose();
    }

    private void FitKfac()
    {
        _kfac?.Dispose();
        _kfac = null;
        _kfac = Kfac.Fit(workload.Task, workload.TrainExamples);
    }

    private void FitEkfac()
    {
        _ekfac?.Dispose();
        _ekfac = null;
        _ekfac = Ekfac.Fit(workload.Task, workload.TrainExamples);
    }

    private void Score(InfluenceFunction function)
    {
        using var scores = function.Score(workload.Task, workload.TrainExamples, workload.QueryExamples);
    }

    private void FindStrongest(InfluenceFunction function) =>
        function.Strongest((int)Math.Min(Strongest, workload.TrainCount), workload.Task, workload.TrainExamples, workload.QueryExamples);

    private Work Step(string name, Action step, int minimumRuns = 2) => Work.Seldom(() => [(name, clock.Time(step))], minimumRuns);
}
