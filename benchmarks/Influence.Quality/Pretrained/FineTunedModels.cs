using System.Globalization;
using Influence.Curvature;
using Influence.Quality.Parts;
using PretrainedTextClassifier;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Pretrained;

/// <summary>The models of the samples, fine-tuned as there on fewer examples: MiniLM on mails, ResNet-18 on pictures, GPT-2's architecture
/// on texts.</summary>
internal static class FineTunedModels
{
    /// <summary>The rates of GPT-2's parts of training, each of which leaves a checkpoint.</summary>
    private static readonly double[] s_rates = [2e-3, 1e-3, 5e-4];

    private const int Seed = 1;
    private const double FlippedShare = 0.1;
    private const int Epochs = 3;

    /// <summary>All-MiniLM-L6-v2 with a new head, every parameter trained to tell spam from ham. It is the caller's.</summary>
    public static FineTuned MiniLm(PartContext context)
    {
        var (mails, length) = (context.Pick(200, 60), context.Pick(32, 16));
        set_num_threads(1);
        var graph = OnnxGraph.Read(MiniLmPackage.Model(), "MiniLM's model.onnx");
        var tokenizer = WordPieces.Read(MiniLmPackage.Vocabulary());
        var split = MailSplit.Draw(Repository.Folder("artifacts", "data", "spam-assassin"), mails, Seed);
        var (given, flipped) = split.FlipLabels(FlippedShare, Seed);
        var train = new MailTensors(split.Train, tokenizer, length, given);
        var queries = new MailTensors([.. split.Test.Take(20)], tokenizer, length);
        var model = MailClassifier.Create(graph, Seed, loraRank: 0);
        var folder = Folder(context, "minilm");
        using var recorder = new Trainer
        {
            Epochs = Epochs,
            Seed = Seed,
            LearningRate = 5e-5,
        }.Recorder(folder, mails);
        new Trainer
        {
            Epochs = Epochs,
            Seed = Seed,
            LearningRate = 5e-5,
        }.Train(model, train, [.. Enumerable.Range(0, mails)], recorder, null, CancellationToken.None);
        context.Note("MiniLM fine-tuned");
        return new FineTuned(
            model,
            (any, batch) =>
                Losses.CrossEntropy(((MailClassifier)any).call(batch["ids"], batch["mask"]).to_type(ScalarType.Float32), batch["label"])
        )
        {
            Name = "MiniLM",
            Facts = Describe(model, $"{mails} mails of {length} pieces in batches of 16, {queries.Mails.Count} queries"),
            Train = train.ToExamples(),
            Queries = queries.ToExamples(),
            Checkpoints = [.. recorder.Checkpoints],
            Create = () => MailClassifier.Create(graph, Seed, loraRank: 0),
            Curvature = new Ekfac.Options { Seed = Seed, MemoryBudget = 4L << 30 },
            Flipped = flipped,
            Owned = [train, queries],
        };
    }

    /// <summary>A pretrained ResNet-18, its last stage and a new head trained on Fashion-MNIST. It is the caller's.</summary>
    public static FineTuned ResNet18(PartContext context)
    {
        const int Side = 64;
        var count = context.Pick(600, 100);
        set_num_threads(1);
        var graph = OnnxGraph.Read(ResNet18Package.Model(), "ResNet18.onnx");
        var preparation = OnnxGraph.Read(ResNet18Package.Preparation(), "ResNetPreprocess.onnx");
        var folder = DataFolder.Find().FashionMnist;
        var (train, test) = (FashionMnist.ReadTraining(folder, count), FashionMnist.ReadTest(folder).At([.. Enumerable.Range(0, 20)]));
        var labels = Samples.Images.FlippedLabels.Flip(train.Labels, FlippedShare, Seed);
        var (images, given) = (Pictures(train), labels.ToTensor());
        var (testImages, testLabels) = (Pictures(test), tensor(test.Labels.Select(label => (long)label).ToArray()));
        var model = Create();
        var trainer = new PretrainedImageClassifier.Trainer { Epochs = Epochs, Seed = Seed };
        using var recorder = trainer.Recorder(Folder(context, "resnet18"), count);
        trainer.Train((nn.Module<Tensor, Tensor>)model, images, given, recorder, new Silent(), CancellationToken.None);
        context.Note("ResNet-18 fine-tuned");
        return new FineTuned(
            model,
            (any, batch) =>
            {
                var image = batch["image"].to_type(any.parameters().First().dtype);
                return Losses.CrossEntropy(((nn.Module<Tensor, Tensor>)any).call(image).to_type(ScalarType.Float32), batch["label"]);
            }
        )
        {
            Name = "ResNet-18",
            Facts = Describe(model, $"{count} pictures of {Side} x {Side} pixels in batches of 50, {test.Count} queries"),
            Train = Examples.FromTensors(("image", images), ("label", given)) with { BatchSize = 50 },
            Queries = Examples.FromTensors(("image", testImages), ("label", testLabels)) with { BatchSize = 50 },
            Checkpoints = [.. recorder.Checkpoints],
            Create = Create,
            Curvature = new Ekfac.Options
            {
                Seed = Seed,
                MaximumFactorSize = 1536,
                MemoryBudget = 4L << 30,
            },
            Flipped = [.. labels.IsFlipped.Index().Where(label => label.Item).Select(label => (long)label.Index)],
            Owned = [images, given, testImages, testLabels],
        };

        Tensor Pictures(LabelledImages pictures) => PretrainedImageClassifier.Pictures.ToTensor(pictures, Side, preparation);

        nn.Module Create()
        {
            manual_seed(Randomness.SeedFor(Seed, "new weights"));
            var network = ResNet18Weights.Create(graph, LabelledImages.ClassCount);
            PretrainedImageClassifier.Trainer.Freeze(network, headOnly: false);
            return network;
        }
    }

    /// <summary>GPT-2's architecture with one token a byte, trained on three domains of text. It is the caller's.</summary>
    public static FineTuned Gpt2(PartContext context)
    {
        var passages = context.Pick(200, 40);
        set_num_threads(1);
        var corpus = Corpus.Read([.. FiveDomains.All.Take(3)], passages, Seed);
        var train = new PassageTensors(corpus.Train);
        var queries = new PassageTensors([.. corpus.HeldOut.Where((_, i) => i % 3 == 0)]);
        var model = global::Gpt2.Gpt2Model.Create(global::Gpt2.Gpt2Settings.Bytes, Seed);
        var folder = Folder(context, "gpt2");
        Directory.CreateDirectory(folder);
        var checkpoints = new List<Checkpoint>();
        foreach (var (part, rate) in s_rates.Index())
        {
            new global::Gpt2.Trainer
            {
                PeakRate = rate,
                Epochs = 2,
                Seed = Seed + part,
            }.Train(model, train, null, CancellationToken.None);
            var path = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"part-{part}.safetensors"));
            Checkpoint.Save(path, model, learningRate: rate);
            checkpoints.Add(Checkpoint.FromFile(path));
        }

        context.Note("GPT-2 trained");
        return new FineTuned(
            model,
            (any, batch) =>
                Losses.CrossEntropy(
                    ((nn.Module<Tensor, Tensor>)any).call(batch["input"]).to_type(ScalarType.Float32),
                    batch["target"],
                    batch["predicted"]
                )
        )
        {
            Name = "GPT-2",
            Facts = Describe(model, $"{corpus.Train.Count} passages of 127 positions in batches of 20, {queries.Input.shape[0]} queries"),
            Train = train.ToExamples(batchSize: 20),
            Queries = queries.ToExamples(batchSize: 20),
            Checkpoints = checkpoints,
            Create = () =>
            {
                var other = global::Gpt2.Gpt2Model.Create(global::Gpt2.Gpt2Settings.Bytes, Seed);
                other.eval();
                return other;
            },
            Curvature = new Ekfac.Options { Seed = Seed, OutputSplits = model.Splits() },
            Owned = [train, queries],
        };
    }

    private static string Describe(nn.Module model, string examples) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{model.parameters().Where(p => p.requires_grad).DistinctBy(p => p.storage<float>().data_ptr()).Sum(p => p.numel()):N0} trained "
                + $"parameters, {examples}"
        );

    private static string Folder(PartContext context, string name)
    {
        var folder = Path.Combine(context.Cache, name);
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }

        return folder;
    }

    private sealed class Silent : IProgress<InfluenceProgress>
    {
        public void Report(InfluenceProgress value) { }
    }
}
