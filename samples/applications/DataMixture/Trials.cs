using Influence;
using Influence.Mixtures;
using TorchSharp;
using static TorchSharp.torch;

namespace DataMixture;

/// <summary>Short trainings of models of the same size, by which a mixture is found before the run itself begins. They are judged by the
/// targets' measured windows.</summary>
internal sealed class Trials(MixtureCorpus corpus, int steps, int seed, CancellationToken cancellationToken)
{
    private const double Share = 0.25;
    private const int FewestSteps = 50;
    private const double ScaleBioRate = 3e-3;
    private const int ValidationWindows = 8;

    public int Seed => seed;

    private int Steps => Math.Max(FewestSteps, (int)(steps * Share));

    /// <summary>The mean over targets of the bits per byte after a short training by a mixture.</summary>
    public double Loss(Mixture mixture)
    {
        cancellationToken.ThrowIfCancellationRequested();
        using var model = ByteDecoder.Create(seed, TrainingRun.Layers, TrainingRun.Width);
        var sampler = new Mixture.Sampler(corpus.Groups, mixture, seed) { EpochLength = Mixture.Sampler.Endless, Balanced = true };
        new Trainer { Steps = Steps }.Train(model, corpus.Train, sampler, _ => { }, null, cancellationToken);
        return Judge.BitsPerByte(model, corpus, corpus.Measured).Average();
    }

    /// <summary>Two models side by side for twice as many steps, a window of each domain a step; the mean of the weights over the second
    /// half.</summary>
    public Mixture ScaleBio(Mixture initial)
    {
        using var model = ByteDecoder.Create(seed, TrainingRun.Layers, TrainingRun.Width);
        using var proxy = ByteDecoder.Create(seed, TrainingRun.Layers, TrainingRun.Width);
        using var optimizer = optim.AdamW(model.parameters(), ScaleBioRate);
        using var proxyOptimizer = optim.AdamW(proxy.parameters(), ScaleBioRate);
        var weights = new ScaleBio<ByteDecoder>(model, optimizer, proxy, proxyOptimizer, initial) { Alpha = 1, WeightLearningRate = 10 };
        var random = Randomness.For(seed, "windows of ScaleBiO");
        var (all, sums) = (2 * Steps, new double[initial.Names.Count]);
        for (var step = 0; step < all; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            using var sources = new PassageTensors([
                .. initial.Names.Select(name => corpus.Train[(int)corpus.Groups[name][random.Next(corpus.Groups[name].Count)]]),
            ]);
            using var validation = new PassageTensors([
                .. Enumerable.Range(0, ValidationWindows).Select(_ => corpus.Measured[random.Next(corpus.Measured.Count)]),
            ]);
            weights.Step(m => [.. Losses(m, sources).unbind()], m => Losses(m, validation).mean());
            if (step >= Steps)
            {
                sums = [.. sums.Zip(weights.Mixture.Weights, (sum, weight) => sum + weight)];
            }
        }

        return Mixture.Normalized(initial.Names, sums);

        // Nats a byte.
        static Tensor Losses(ByteDecoder of, PassageTensors windows) =>
            Influence.Losses.CrossEntropy(of.call(windows.Input), windows.Target, windows.Predicted, meanOverPositions: true);
    }
}
