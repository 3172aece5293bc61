using Influence;
using TorchSharp;
using static TorchSharp.torch;

namespace UnlearningSample;

/// <summary>Examples to forget, with what they are judged beside, and the model that is to forget them. Ids: training examples by position,
/// unseen ones from <see cref="FirstTestId"/>, peers from twice that.</summary>
internal abstract class ForgetSet : IDisposable
{
    protected const long FirstTestId = 1_000_000;

    protected ForgetSet(string name, int count, IReadOnlyList<long> forget, int keptSample)
    {
        Name = name;
        TrainIds = [.. Enumerable.Range(0, count).Select(i => (long)i)];
        Forget = forget;
        var rest = TrainIds.Except(forget).ToArray();
        Randomness.For(1, "kept images that are judged").Shuffle(rest);
        Keep = [.. rest.Take(keptSample).Order()];
    }

    public string Name { get; }

    /// <summary>The model, what it was trained on, and what is unseen.</summary>
    public abstract string About { get; }

    /// <summary>What retrained models depend on, so that kept ones are of the same training.</summary>
    public abstract string RetrainingSettings { get; }

    /// <summary>What the learning rates that are tried are multiplied by, for this model.</summary>
    public abstract double RateScale { get; }

    /// <summary>The rate of SGD in relearning.</summary>
    public abstract double RelearningRate { get; }

    public IReadOnlyList<long> TrainIds { get; }

    public IReadOnlyList<long> Forget { get; }

    /// <summary>A sample of the kept examples.</summary>
    public IReadOnlyList<long> Keep { get; }

    public Examples Train { get; protected init; } = null!;

    public Examples ForgetExamples { get; protected init; } = null!;

    public Examples KeepExamples { get; protected init; } = null!;

    public Examples TestExamples { get; protected init; } = null!;

    /// <summary>Unseen examples of the forgotten ones' kind.</summary>
    public Examples PeerExamples { get; protected init; } = null!;

    /// <summary>A model that was trained on some examples.</summary>
    public abstract nn.Module<Tensor, Tensor> TrainedOn(IReadOnlyList<long> ids, int seed, CancellationToken cancellationToken);

    /// <summary>One loss an example, <c>[B]</c>.</summary>
    public abstract Tensor Loss(nn.Module<Tensor, Tensor> model, ExampleBatch batch);

    /// <summary>The same on other labels, drawn for each example.</summary>
    public abstract Tensor OtherLoss(nn.Module<Tensor, Tensor> model, ExampleBatch batch);

    /// <summary>log p / (1 - p) of what is right, <c>[B]</c>.</summary>
    public abstract Tensor Margin(nn.Module<Tensor, Tensor> model, ExampleBatch batch);

    /// <summary>Training examples of some ids.</summary>
    public abstract Examples Some(IReadOnlyList<long> ids);

    public abstract void Dispose();
}
