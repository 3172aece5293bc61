using System.Diagnostics;
using Influence;
using Influence.Curvature;
using Influence.Evaluation;
using TorchSharp;
using static TorchSharp.torch;

namespace UnlearningSample;

/// <summary>A trained model that is to forget.</summary>
internal sealed class Subject : IDisposable
{
    private Ekfac? _ekfac;
    private TimeSpan _fit;

    public Subject(ForgetSet set, nn.Module<Tensor, Tensor> model)
    {
        (Set, Model) = (set, model);
        Task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["image"]), b["label"]) };
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
            model => optim.SGD(model.parameters(), 0.05),
            maximumSteps: 100,
            cancellationToken
        );

    public void Dispose()
    {
        _ekfac?.Dispose();
        Model.Dispose();
    }
}
