using static TorchSharp.torch;

namespace Influence;

/// <summary>
/// What the library's own losses tell about themselves while a task's delegate runs: which tensor is the model's output and
/// how the loss follows from it. With a sampler, they take labels drawn from the model in place of the data's.
/// </summary>
internal sealed class LossTrace : IDisposable
{
    [ThreadStatic]
    private static LossTrace? s_current;

    private readonly LossTrace? _outer = s_current;
    private readonly List<TracedLoss> _losses = [];

    public LossTrace(InfluenceTask.Sampler? sampler)
    {
        Sampler = sampler;
        s_current = this;
    }

    /// <summary>The trace of the delegate that runs on this thread; null outside of one.</summary>
    public static LossTrace? Current => s_current;

    public InfluenceTask.Sampler? Sampler { get; }

    /// <summary>Every loss that was evaluated, in order.</summary>
    public IReadOnlyList<TracedLoss> Losses => _losses;

    public void Add(Tensor outputs, Func<Tensor, Tensor> loss, Tensor value) => _losses.Add(new TracedLoss(outputs, loss, value));

    public void Dispose() => s_current = _outer;
}

/// <summary>One evaluation of a loss.</summary>
/// <param name="Outputs">The model's outputs as the loss was given them, with their graph.</param>
/// <param name="Loss">From outputs of that shape to one loss per example, <c>[B]</c>, convex in the outputs.</param>
/// <param name="Value">What it gave, with its graph: the delegate may go on and weigh it.</param>
internal sealed record TracedLoss(Tensor Outputs, Func<Tensor, Tensor> Loss, Tensor Value);
