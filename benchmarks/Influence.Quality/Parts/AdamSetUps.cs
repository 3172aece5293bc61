using Influence.Curvature;
using Influence.Quality.Data;
using Influence.Quality.Judging;
using Influence.Quality.Training;
using TorchSharp;

namespace Influence.Quality.Parts;

/// <summary>The set-ups that are trained by AdamW.</summary>
internal static class AdamSetUps
{
    /// <summary>Spam or not.</summary>
    public static AdamSetUp Spam(PartContext context)
    {
        var (vocabulary, width, hidden) = context.Pick((2048L, 16L, 32L), (512L, 8L, 16L));
        var mails = Mails.Load(context.Pick(2000, 500), context.Pick(220, 60), context.Pick(100, 60), (int)vocabulary);
        int[] few = context.Pick<int[]>([1, 3, 6, 10], [1, 2, 4, 6]);
        int[] source = context.Pick<int[]>([1, 3, 4, 6, 8, 10], [1, 2, 3, 4, 5, 6]);
        return new AdamSetUp
        {
            Data = mails.Data,
            Recipe = new Recipe
            {
                Model = $"mean of {width} numbers for each of {vocabulary - 1:N0} hashed words, {hidden} hidden with GELU, 2 classes",
                Create = () => new MailClassifier(vocabulary, width, hidden, 2),
                Epochs = few[^1],
                LearningRate = 5e-3,
                WeightDecay = 0.01,
                Adam = true,
                BatchSize = context.Pick(100, 25),
                KeepsShares = true,
                CheckpointEpochs = SetUp.Union(few, source),
            },
            Classes = 2,
            LastInputs = (model, x) => ((MailClassifier)model).LastInputs(x),
            Embedding = (model, x) => ((MailClassifier)model).Mean(x),
            Texts = (mails.TrainTexts, mails.QueryTexts),
            Halves = context.Pick(50, 12),
            Seeds = context.Pick<long[]>([0, 1, 2], [0, 1]),
            Models = context.Pick(3, 2),
            FewEpochs = few,
            SourceEpochs = source,
            Curvature = new() { LabelDraws = 16 },
            Dampings = Dampings.RelativeBelow(100),
            QldQueries = context.Pick(25, 6),
            MagicQueries = context.Pick(25, 6),
            SmallRemovals = context.Pick(40, 8),
            FlippedLabels = true,
            Facts = mails.Facts,
        };
    }

    /// <summary>T3, with AdamW in place of SGD.</summary>
    public static AdamSetUp WideFashionMlp(PartContext context)
    {
        var data = Images.FashionMnist.Load(context.Pick(6144, 600), context.Pick(100, 60), context.Pick(1, 2));
        long[] widths = [data.TrainX.shape[1], .. context.Pick<long[]>([512, 256, 128], [64, 32, 16]), 10];
        int[] few = context.Pick<int[]>([2, 5, 7, 10], [1, 4, 7, 10]);
        int[] source = context.Pick<int[]>([2, 4, 5, 7, 8, 10], [2, 4, 5, 7, 8, 10]);
        return new AdamSetUp
        {
            Data = data,
            Recipe = new Recipe
            {
                Model = Recipe.MlpName(widths),
                Create = () => Recipe.Mlp(widths),
                Epochs = few[^1],
                LearningRate = 1e-3,
                WeightDecay = 0.01,
                Adam = true,
                KeepsShares = true,
                CheckpointEpochs = SetUp.Union(few, source),
            },
            Classes = 10,
            LastInputs = AllButLast,
            Embedding = AllButLast,
            Halves = context.Pick(50, 12),
            Seeds = [0, 1],
            Models = 2,
            FewEpochs = few,
            SourceEpochs = source,
            Curvature = new() { LabelDraws = 4 },
            Dampings = Dampings.RelativeBelow(context.Pick(10, 100)),
        };

        static TorchSharp.torch.Tensor AllButLast(
            TorchSharp.torch.nn.Module<TorchSharp.torch.Tensor, TorchSharp.torch.Tensor> model,
            TorchSharp.torch.Tensor x
        )
        {
            foreach (var layer in model.children().SkipLast(1))
            {
                x = ((TorchSharp.torch.nn.Module<TorchSharp.torch.Tensor, TorchSharp.torch.Tensor>)layer).call(x);
            }

            return x;
        }
    }
}
