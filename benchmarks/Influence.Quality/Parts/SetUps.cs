using Influence.Curvature;
using Influence.Quality.Data;
using Influence.Quality.Judging;
using Influence.Quality.Reporting;
using Influence.Quality.Training;
using TorchSharp;

namespace Influence.Quality.Parts;

/// <summary>The deep set-ups, with what others reached on them.</summary>
internal static class SetUps
{
    private const string Lds = "LDS";
    private const string Sketch = "a sketch with the exact cross-entropy gradient";
    private const string OtherTools = "another implementation, one model";

    /// <summary>T2.</summary>
    public static SetUp MnistMlp(PartContext context)
    {
        var data = Images.Mnist.Load(context.Pick(5000, 600), context.Pick(500, 60), context.Pick(1, 2));
        long[] widths = [data.TrainX.shape[1], .. context.Pick<long[]>([128, 64], [32, 16]), 10];
        int[] few = context.Pick<int[]>([5, 15, 30, 50], [2, 4, 7, 10]);
        int[] source = context.Pick<int[]>([8, 17, 25, 34, 42, 50], [2, 4, 5, 7, 8, 10]);
        return new SetUp
        {
            Data = data,
            Recipe = new Recipe
            {
                Model = Recipe.MlpName(widths, 0.1),
                Create = () => Recipe.Mlp(widths, 0.1),
                Epochs = few[^1],
                LearningRate = 0.01,
                Momentum = 0.9,
                CheckpointEpochs = SetUp.Union(few, source),
            },
            Halves = context.Pick(50, 12),
            Seeds = context.Pick<long[]>([0, 1, 2], [0, 1]),
            Models = context.Pick(10, 2),
            Ensembles = context.Pick<int[]>([2, 5, 10], [2]),
            FewEpochs = few,
            SourceEpochs = source,
            Curvature = new() { LabelDraws = 16 },
            Astra = Astra(context),
            FlippedLabels = true,
            Published =
            [
                new(Lds, "conjugate gradient, one model", 0.256, "dattri's benchmark"),
                new(Lds, "TRAK, 10 checkpoints", 0.437, "GraSS"),
                new("mislabelled, AUC", "TRAK, 50 checkpoints", 0.999, "dattri's benchmark"),
            ],
        };
    }

    /// <summary>W1.</summary>
    public static SetUp FashionMlp(PartContext context)
    {
        var data = Images.FashionMnist.Load(context.Pick(5000, 600), context.Pick(500, 60), context.Pick(1, 2));
        long[] widths = [data.TrainX.shape[1], .. context.Pick<long[]>([256, 128], [64, 32]), 10];
        int[] few = context.Pick<int[]>([3, 10, 20, 30], [1, 4, 8, 12]);
        int[] source = context.Pick<int[]>([5, 10, 15, 20, 25, 30], [2, 4, 6, 8, 10, 12]);
        return new SetUp
        {
            Data = data,
            Recipe = new Recipe
            {
                Model = Recipe.MlpName(widths),
                Create = () => Recipe.Mlp(widths),
                Epochs = few[^1],
                LearningRate = 0.03,
                Momentum = 0.9,
                RateFalls = true,
                CheckpointEpochs = SetUp.Union(few, source),
            },
            Halves = context.Pick(50, 12),
            Seeds = context.Pick<long[]>([0, 1, 2], [0, 1]),
            Models = context.Pick(5, 2),
            Ensembles = context.Pick<int[]>([2, 3, 5], [2]),
            FewEpochs = few,
            SourceEpochs = source,
            Curvature = new() { LabelDraws = 16 },
            Astra = Astra(context),
            Published =
            [
                new(Lds, "TracIn", 0.12, OtherTools),
                new(Lds, "TracIn, 4 checkpoints", 0.16, OtherTools),
                new(Lds, "cosine", 0.13, OtherTools),
                new(Lds, "TRAK, 5 models", 0.20, "another implementation"),
                new(Lds, "EK-FAC (0.19 to 0.42 by damping)", 0.42, OtherTools),
                new(Lds, "EK-FAC, last checkpoint", 0.44, Sketch),
                new(Lds, "EK-FAC, summed over 4 checkpoints of one run", 0.49, Sketch),
                new(Lds, "EK-FAC, 3 models", 0.49, Sketch),
                new(Lds, "noise ceiling", 0.74, "another implementation"),
            ],
        };
    }

    /// <summary>W1 at a size whose trainings take minutes: a model that fits its training examples as well.</summary>
    public static SetUp SmallFashionMlp(PartContext context)
    {
        var data = Images.FashionMnist.Load(context.Pick(1000, 300), context.Pick(200, 60), context.Pick(1, 2));
        long[] widths = [data.TrainX.shape[1], .. context.Pick<long[]>([64, 32], [32, 16]), 10];
        var whole = FashionMlp(context);
        return whole with
        {
            Data = data,
            Recipe = whole.Recipe with { Model = Recipe.MlpName(widths), Create = () => Recipe.Mlp(widths) },
            Halves = context.Pick(40, 12),
            Seeds = [0, 1],
            Astra = whole.Astra with { Iterations = 40 },
            Published = [],
        };
    }

    /// <summary>T3.</summary>
    public static SetUp WideFashionMlp(PartContext context)
    {
        var data = Images.FashionMnist.Load(context.Pick(6144, 600), context.Pick(100, 60), context.Pick(1, 2));
        long[] widths = [data.TrainX.shape[1], .. context.Pick<long[]>([512, 256, 128], [64, 32, 16]), 10];
        int[] few = context.Pick<int[]>([3, 7, 13, 20], [1, 4, 7, 10]);
        int[] source = context.Pick<int[]>([3, 7, 10, 13, 17, 20], [2, 4, 5, 7, 8, 10]);
        return new SetUp
        {
            Data = data,
            Recipe = new Recipe
            {
                Model = Recipe.MlpName(widths),
                Create = () => Recipe.Mlp(widths),
                Epochs = few[^1],
                LearningRate = 0.03,
                Momentum = 0.9,
                WeightDecay = 1e-3,
                CheckpointEpochs = SetUp.Union(few, source),
            },
            Halves = context.Pick(50, 12),
            Seeds = context.Pick<long[]>([0, 1, 2], [0, 1]),
            Models = context.Pick(3, 2),
            Ensembles = context.Pick<int[]>([3], [2]),
            FewEpochs = few,
            SourceEpochs = source,
            Curvature = new() { LabelDraws = 16 },
            Astra = Astra(context) with { Iterations = context.Pick(60, 40), HalveEvery = context.Pick(15, 10) },
            AstraQueries = 30,
            Published =
            [
                new(Lds, "EK-FAC, one model", 0.30, "SOURCE's authors, 50 retrainings a half"),
                new(Lds, "EK-FAC, ensemble", 0.45, "SOURCE's authors, 50 retrainings a half"),
                new(Lds, "SOURCE, one model", 0.46, "SOURCE's authors, 50 retrainings a half"),
                new(Lds, "SOURCE, ensemble", 0.53, "SOURCE's authors, 50 retrainings a half"),
            ],
        };
    }

    /// <summary>T8, with a smaller model.</summary>
    public static SetUp Decoder(PartContext context)
    {
        var size = context.Pick(new DecoderSize(2, 96, 4, 64), new DecoderSize(1, 32, 2, 32));
        int[] few = context.Pick<int[]>([3, 6, 9, 12], [2, 4, 6, 8]);
        return new SetUp
        {
            Data = Text.Load(context.Pick(600, 200), context.Pick(60, 40), size.Positions),
            Recipe = new Recipe
            {
                Model = $"decoder over bytes, {size.Layers} layers of width {size.Width}, {size.Heads} heads, {size.Positions} positions",
                Create = () => new Decoder(size),
                Epochs = few[^1],
                LearningRate = 1e-3,
                WeightDecay = 0.01,
                Adam = true,
                BatchSize = 16,
                CheckpointEpochs = few,
            },
            Halves = context.Pick(40, 12),
            Seeds = [0],
            Models = context.Pick(2, 1),
            Ensembles = context.Pick<int[]>([2], []),
            FewEpochs = few,
            Astra = new()
            {
                Iterations = context.Pick(24, 16),
                BatchSize = 32,
                HalveEvery = context.Pick(8, 4),
            },

            // Far from the end of training: little damping does best.
            RelativeDampings = Dampings.RelativeBelow(0.1),
            AbsoluteDampings = Dampings.Below(0.1),
            AstraQueries = 30,
            AstraDampings = [Damping.Absolute(10), Damping.Absolute(3), Damping.Absolute(1)],
            BatchSize = 20,
            Published =
            [
                new(Lds, "TracIn, 10.7M parameters", 0.088, "dattri's benchmark, Shakespeare"),
                new(Lds, "TRAK, 10 models, 10.7M parameters", 0.142, "dattri's benchmark, Shakespeare"),
                new(Lds, "TRAK, 50 models, 10.7M parameters", 0.225, "dattri's benchmark, Shakespeare"),
            ],
        };
    }

    /// <summary>Half of the published steps and as many halvings, because five dampings cost more than one.</summary>
    private static Astra.Options Astra(PartContext context) =>
        new() { Iterations = context.Pick(100, 40), HalveEvery = context.Pick(25, 10) };
}
