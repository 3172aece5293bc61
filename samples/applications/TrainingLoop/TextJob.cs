using Influence.Training;
using static TorchSharp.torch;

namespace TrainingLoop;

/// <summary>A byte-level decoder on three languages, each from a careful and a careless source.</summary>
internal static class TextJob
{
    private const double Rate = 3e-3;
    private const int Layers = 1;
    private const int Width = 64;
    private const int Batch = 16;

    public static NoisyJob Create(Options options)
    {
        var texts = NoisyTexts.Read(options.Seed);
        return new NoisyJob
        {
            Name = "texts",
            Description = texts.ToString(),
            Noise = "shuffled or foreign texts",
            Unit = ("bits per byte", Math.Log(2)),
            Train = ExampleTensors.Of(new PassageTensors(texts.Train)),
            IsNoisy = texts.IsNoisy,
            Validation = ExampleTensors.Of(new PassageTensors(texts.Validation)),
            HeldOut = ExampleTensors.Of(new PassageTensors(texts.HeldOut)),
            Sources = texts.Sources,
            CreateModel = seed => ByteDecoder.Create(seed, Layers, Width),
            CreateOptimizer = model => optim.AdamW(model.parameters(), Rate),
            BatchSize = Batch,
            ValidationSize = Batch / 2,
            Steps = options.Quick ? 100 : 400,
            Reweighting = new LossReweighting { Scheme = LossReweighting.Kind.Quadratic, WarmUpSteps = options.Quick ? 25 : 100 },

            // AdamW moves the weights about a hundred times as far as SGD would at its rate, and overlap grows with that.
            Selection = new OnlineSelection { Fraction = 0.5, Redundancy = 100 },
        };
    }
}
