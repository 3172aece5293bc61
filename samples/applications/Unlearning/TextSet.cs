using System.Globalization;
using Influence;
using Samples.Language;
using TorchSharp;
using static TorchSharp.torch;

namespace UnlearningSample;

/// <summary>
/// Passages of one book to forget: what ants say when they are cross, a collection of Italian aphorisms. Kept beside it: other Italian
/// texts, Spanish ones and Bible verses.
/// </summary>
internal sealed class TextSet : ForgetSet
{
    private const int Seed = 1;
    private const int OfTheBook = 100;
    private const int OfEachOther = 150;
    private const int Unseen = 60;
    private const int Epochs = 6;
    private const int BatchSize = 8;
    private const double PeakRate = 3e-3;

    private static readonly Domain[] s_domains =
    [
        Domain.FromFortunes("the book of ants", "fortunes-it", "it/formiche"),
        Domain.FromFortunes("other Italian texts", "fortunes-it", "it/italia", "it/leggi"),
        Domain.FromFortunes("Spanish texts", "fortunes-es", "es/arte.fortunes", "es/ciencia.fortunes", "es/sabiduria.fortunes"),
        new("Bible verses", "bible-kjv-text", KingJamesBible.ReadVerses),
    ];

    private readonly PassageTensors _train;
    private readonly List<PassageTensors> _owned = [];
    private readonly IReadOnlyList<Passage> _passages;

    private TextSet(IReadOnlyList<Passage> train, IReadOnlyList<Passage> heldOut)
        : base("one book", train.Count, [.. train.Index().Where(p => p.Item.Domain == 0).Select(p => (long)p.Index)], keptSample: 150)
    {
        _passages = train;
        _train = new PassageTensors(train);
        Train = _train.ToExamples(32);
        ForgetExamples = Some(Forget);
        KeepExamples = Some(Keep);
        TestExamples = Of([.. heldOut.Where(passage => passage.Domain != 0)], FirstTestId);
        PeerExamples = Of([.. heldOut.Where(passage => passage.Domain == 0)], FirstTestId * 2);
    }

    public override string About
    {
        get
        {
            using var model = Fresh(Seed);
            return string.Create(
                CultureInfo.InvariantCulture,
                $"A byte-level decoder ({model.ParameterCount:N0} parameters) trained on {TrainIds.Count:N0} passages for {Epochs} epochs, "
                    + $"{Forget.Count} of them from one book (Debian's fortunes-it, formiche), {OfEachOther} each of other Italian texts, "
                    + $"Spanish ones and Bible verses; losses in nats a byte; unseen ones are {Unseen} of each of these three, peers "
                    + $"{Unseen} other passages of the book. Other labels are random bytes."
            );
        }
    }

    public override string RetrainingSettings =>
        string.Create(CultureInfo.InvariantCulture, $"byte decoder, {TrainIds.Count} passages, {Epochs} epochs, rate {PeakRate}");

    public override double RateScale => 5;

    public override double RelearningRate => 0.5;

    public static TextSet Make()
    {
        var book = Corpus.Read(s_domains[..1], OfTheBook, Seed, Unseen);
        var others = Corpus.Read(s_domains[1..], OfEachOther, Seed, Unseen);
        return new TextSet([.. book.Train, .. others.Train.Select(Later)], [.. book.HeldOut, .. others.HeldOut.Select(Later)]);

        static Passage Later(Passage passage) => passage with { Domain = passage.Domain + 1 };
    }

    public override nn.Module<Tensor, Tensor> TrainedOn(IReadOnlyList<long> ids, int seed, CancellationToken cancellationToken)
    {
        var model = Fresh(seed);
        model.train();
        using var optimizer = optim.AdamW(model.parameters(), PeakRate);
        var random = Randomness.For(seed, "order of the batches");
        var order = ids.ToArray();
        var (step, steps) = (0, Epochs * ((order.Length + BatchSize - 1) / BatchSize));
        for (var epoch = 0; epoch < Epochs; epoch++)
        {
            random.Shuffle(order);
            foreach (var chunk in order.Chunk(BatchSize))
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                var done = (double)step++ / steps;
                optimizer.ParamGroups.First().LearningRate = PeakRate * Schedule.Share(done);
                var index = tensor(chunk);
                var predicted = _train.Predicted.index_select(0, index); // [B, T]
                var loss = Losses.CrossEntropy(
                    model.call(_train.Input.index_select(0, index)),
                    _train.Target.index_select(0, index),
                    predicted,
                    meanOverPositions: true
                );
                optimizer.zero_grad();
                loss.mean().backward();
                optimizer.step();
            }
        }

        model.eval();
        return model;
    }

    public override Tensor Loss(nn.Module<Tensor, Tensor> model, ExampleBatch batch) =>
        Losses.CrossEntropy(model.call(batch["input"]), batch["target"], batch["predicted"], meanOverPositions: true);

    public override Tensor OtherLoss(nn.Module<Tensor, Tensor> model, ExampleBatch batch)
    {
        // Drawn for each passage and place, the same in every batch.
        var bytes = new List<long>();
        var length = (int)batch["target"].shape[1];
        foreach (var id in batch.Ids)
        {
            var random = Randomness.For((int)id, "other bytes");
            bytes.AddRange(Enumerable.Range(0, length).Select(_ => (long)random.Next(1, ByteDecoder.Vocabulary)));
        }

        var other = (batch["target"] + tensor(bytes.ToArray()).reshape(-1, length)).remainder(ByteDecoder.Vocabulary); // [B, T]
        return Losses.CrossEntropy(model.call(batch["input"]), other, batch["predicted"], meanOverPositions: true);
    }

    public override Tensor Margin(nn.Module<Tensor, Tensor> model, ExampleBatch batch)
    {
        var logits = model.call(batch["input"]); // [B, T, V]
        var own = batch["target"].unsqueeze(2); // [B, T, 1]
        // [B, T]
        var margins =
            logits.gather(2, own).squeeze(2) - logits.scatter(2, own, full(own.shape, double.NegativeInfinity, logits.dtype)).logsumexp(2);
        var counts = batch["predicted"].to_type(logits.dtype); // [B, T]
        return (margins * counts).sum(1) / counts.sum(1);
    }

    public override Examples Some(IReadOnlyList<long> ids)
    {
        var own = new PassageTensors([.. ids.Select(id => _passages[(int)id])]);
        _owned.Add(own);
        return own.ToExamples(32) with { Ids = ids };
    }

    public override void Dispose()
    {
        _train.Dispose();
        _owned.ForEach(tensors => tensors.Dispose());
    }

    private static ByteDecoder Fresh(int seed) => ByteDecoder.Create(seed, layers: 2, width: 64);

    private Examples Of(IReadOnlyList<Passage> passages, long first)
    {
        var own = new PassageTensors(passages);
        _owned.Add(own);
        return own.ToExamples(32) with { Ids = [.. passages.Index().Select(p => first + p.Index)] };
    }
}
