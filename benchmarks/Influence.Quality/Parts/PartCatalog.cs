using Influence.Quality.Pretrained;
using Influence.Quality.Reporting;
using Influence.Quality.Trees;

namespace Influence.Quality.Parts;

/// <summary>The parts, in the order in which they run.</summary>
internal static class PartCatalog
{
    public static IReadOnlyList<Part> All { get; } =
    [
        new("t1", "logistic regression on MNIST, 5,000 training examples and 500 queries", LogisticRegression.Run),
        new(
            "w1",
            "MLP 784-256-128-10 on Fashion-MNIST, 5,000 training examples and 500 queries",
            c => DeepStudy.Run(c, SetUps.FashionMlp(c))
        ),
        new(
            "w1s",
            "solvers around EK-FAC, and other factors, on w1's model and retrainings",
            c => SolverStudy.Run(c, c.Of("w1"), SetUps.FashionMlp(c), oneQueryIn: 20)
        ),
        new(
            "w1m",
            "the same on an MLP 784-64-32-10 of Fashion-MNIST, 1,000 training examples and 200 queries",
            c => SolverStudy.Run(c, c, SetUps.SmallFashionMlp(c), oneQueryIn: 6)
        ),
        new(
            "t2",
            "MLP 784-128-64-10 with dropout on MNIST, 5,000 training examples and 500 queries",
            c => DeepStudy.Run(c, SetUps.MnistMlp(c))
        ),
        new(
            "t3",
            "MLP 784-512-256-128-10 on Fashion-MNIST, 6,144 training examples and 100 queries",
            c => DeepStudy.Run(c, SetUps.WideFashionMlp(c))
        ),
        new(
            "t8",
            "byte decoder of 0.28M parameters on text, 600 training examples and 60 queries",
            c => DeepStudy.Run(c, SetUps.Decoder(c))
        ),
        new(
            "spam",
            "mail classifier trained by AdamW on SpamAssassin's mails, 2,000 training examples and 220 queries",
            c => AdamStudy.Run(c, AdamSetUps.Spam(c))
        ),
        new(
            "t3-adamw",
            "T3's MLP trained by AdamW on Fashion-MNIST, 6,144 training examples and 100 queries",
            c => AdamStudy.Run(c, AdamSetUps.WideFashionMlp(c))
        ),
        new(
            "g1",
            "scores from gradient stores on W1, by form and dimension of the projection",
            c => StoreStudy.Run(c, "w1", SetUps.FashionMlp, [4, 16, 64], widest: 16)
        ),
        new("g3", "the same on T3", c => StoreStudy.Run(c, "t3", SetUps.WideFashionMlp, [4, 16, 64], widest: 16)),
        new("g8", "the same on T8", c => StoreStudy.Run(c, "t8", SetUps.Decoder, [4, 16, 64], widest: 16)),
        new("trees", "LightGBM on Spambase, 1,500 training examples and 200 queries", c => TreeStudy.Run(c, TreeSetUps.Spambase(c))),
        Estimates("minilm", FineTunedModels.MiniLm),
        Estimates("resnet18", FineTunedModels.ResNet18),
        Estimates("gpt2", FineTunedModels.Gpt2),
        Half("w1", c => HalfStudy.Deep(c, "W1", SetUps.FashionMlp(c))),
        Half("t8", c => HalfStudy.Deep(c, "T8", SetUps.Decoder(c))),
        Half("minilm", c => HalfStudy.Run(c, FineTunedModels.MiniLm(c))),
        Half("resnet18", c => HalfStudy.Run(c, FineTunedModels.ResNet18(c))),
        Half("gpt2", c => HalfStudy.Run(c, FineTunedModels.Gpt2(c))),
        new("d1", "scores of the training run on Fashion-MNIST with flipped labels, 10,000 training examples", ScoresOfTheRun.Run),
    ];

    private static Part Estimates(string model, Func<PartContext, FineTuned> make) =>
        new(
            $"estimates-{model}",
            "what calls on a pretrained model take, beside what was said beforehand",
            c => EstimateStudy.Run(c, make(c))
        );

    private static Part Half(string model, Func<PartContext, Findings> run) =>
        new($"half-{model}", "scores of a model in bfloat16 and float16, beside those of the same weights in float32", run);
}
