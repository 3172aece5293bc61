using System.Diagnostics;
using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using TorchSharp;
using static TorchSharp.torch;

namespace UnlearningSample;

/// <summary>A trained model that is to forget.</summary>
internal sealed class Subject : IDisposable
{
    /// <summary>Of each side, in datamodel matching: scores are of every point with every forgotten example.</summary>
    private const int MostPoints = 200;

    private Ekfac? _ekfac;
    private TimeSpan _fit;
    private readonly Dictionary<double, (InfluenceScores Scores, TimeSpan Time)> _scores = [];

    public Subject(ForgetSet set, nn.Module<Tensor, Tensor> model)
    {
        (Set, Model) = (set, model);
        Task = new InfluenceTask(model) { TrainingLoss = b => set.Loss(model, b) };
        Before = Measure();
    }

    public ForgetSet Set { get; }

    public nn.Module<Tensor, Tensor> Model { get; }

    public InfluenceTask Task { get; }

    public UnlearningTest.ModelLosses Before { get; }

    /// <summary>The mean loss of unseen images of the forgotten ones' kind: the label-free guess of what the forgotten ones should
    /// have.</summary>
    public double PeerLoss => Math.Max(Before.Peers.Average(), Before.Forget.Average() * 1.1);

    /// <summary>The curvature at the model's own weights, fitted once, and how long that took.</summary>
    public (Ekfac Fit, TimeSpan Time) Curvature()
    {
        var clock = Stopwatch.StartNew();
        if (_ekfac is null)
        {
            _ekfac = Ekfac.Fit(Task, Set.Train);
            _fit = clock.Elapsed;
        }

        return (_ekfac, _fit);
    }

    /// <summary>The influence of the forgotten examples on margins of some of them and of some kept ones, scored once for each damping,
    /// and how long that took.</summary>
    /// <param name="damping">As a share of the curvature's mean eigenvalue. Sums over many examples follow a tangent far out: the less
    /// damping, the farther.</param>
    public (InfluenceScores Scores, TimeSpan Time) MarginScores(double damping)
    {
        if (_scores.TryGetValue(damping, out var known))
        {
            return known;
        }

        var clock = Stopwatch.StartNew();
        long[] points = [.. Set.Forget.Take(MostPoints).Concat(Set.Keep.Take(MostPoints)).Order()];
        using var scores = new InfluenceFunction(Curvature().Fit) { Damping = Damping.RelativeToMeanEigenvalue(damping) }.Score(
            Task with
            {
                Measurement = b => Set.Margin(Model, b),
            },
            Set.ForgetExamples,
            Set.Some(points)
        );

        // What is left when the forgotten ones are gone is what the model would be trained on.
        var scaled = new InfluenceScores(
            scores.Values.clone(),
            scores.QueryIds,
            scores.TrainIds,
            scores.Metadata with
            {
                LeaveOneOutFactor = 1.0 / (Set.TrainIds.Count - Set.Forget.Count),
            }
        );
        return _scores[damping] = (scaled, clock.Elapsed);
    }

    public UnlearningTest.ModelLosses Measure() =>
        UnlearningTest.Measure(Task, Set.ForgetExamples, Set.KeepExamples, Set.TestExamples, Set.PeerExamples);

    /// <summary>Steps over the forgotten images, from the present weights, until their loss is what it was before unlearning.</summary>
    public int? Relearn(CancellationToken cancellationToken) =>
        UnlearningTest.RelearningSteps(
            Task,
            Set.ForgetExamples with
            {
                BatchSize = 50,
            },
            Before.Forget.Average(),
            model => optim.SGD(model.parameters(), Set.RelearningRate),
            maximumSteps: 100,
            cancellationToken
        );

    public void Dispose()
    {
        _ekfac?.Dispose();
        foreach (var (scores, _) in _scores.Values)
        {
            scores.Dispose();
        }

        Model.Dispose();
    }
}
