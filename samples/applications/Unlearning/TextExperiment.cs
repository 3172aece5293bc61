using System.Diagnostics;
using System.Globalization;
using System.Text;
using Influence;
using Influence.Curvature;
using Influence.Evaluation;
using Influence.Memorisation;
using Influence.Scorers;
using Influence.Unlearning;
using Samples.Language;
using TorchSharp;
using static TorchSharp.torch;

namespace UnlearningSample;

/// <summary>
/// A byte-level decoder that reads some verses again and again: what it knows word for word by count and phase, how early that shows,
/// whether the order of training can be seen in it, and what takes it out again: unlearning of the verses that were read most, or the K-FAC
/// edit, which names none.
/// </summary>
internal sealed class TextExperiment(CancellationToken cancellationToken) : IDisposable
{
    private const int Seed = 1;
    private const int Inserted = 40;
    private const int PassagesPerDomain = 200;
    private const int Epochs = 3;
    private const int BatchSize = 8;
    private const double PeakRate = 3e-3;
    private const int ManyTimes = 64;

    private readonly InsertedPassages _insertions = new()
    {
        Counts = [0, 4, 16, 64, 128],
        Phases = 2,
        Seed = Seed,
    };
    private readonly Recitation _recitation = new();
    private readonly ByteDecoder _model = ByteDecoder.Create(Seed, layers: 2, width: 64);
    private PassageTensors? _verses;
    private PassageTensors? _base;
    private PassageTensors? _heldOut;

    public string Run()
    {
        var watch = Stopwatch.StartNew();
        var corpus = Corpus.Read(FiveDomains.All, PassagesPerDomain, Seed, heldOutPerDomain: 100);
        var spare = corpus
            .HeldOut.Where(passage => passage.Domain == 0 && passage.Bytes.Length >= _recitation.PrefixLength + _recitation.SuffixLength)
            .ToList();
        var verses = spare.Take(Inserted).ToList();
        _verses = new PassageTensors(verses);
        _heldOut = new PassageTensors([.. corpus.HeldOut.Except(verses)]);
        _base = new PassageTensors(corpus.Train);
        long[] ids = [.. Enumerable.Range(0, Inserted).Select(i => (long)i)];
        var dealt = _insertions.Assign(ids);
        var (order, lastSeen) = Order(dealt);
        var halfway = Train(order);
        var after = Recite();
        var forecast = _recitation.Compare(halfway, after);
        var task = new InfluenceTask(_model)
        {
            TrainingLoss = b => Losses.CrossEntropy(_model.call(b["input"]), b["target"], b["predicted"], meanOverPositions: true),
            Layers = LayerSelection.Where(
                name => name.Contains(".up.", StringComparison.Ordinal) || name.Contains(".down.", StringComparison.Ordinal),
                "the blocks' MLPs"
            ),
        };
        var text = new StringBuilder().AppendLine(
            CultureInfo.InvariantCulture,
            $"""
            ## A decoder that reads verses again and again

            A byte-level decoder ({_model.ParameterCount:N0} parameters) trained on {_base.Input.shape[
                0
            ]:N0} passages of five domains {Epochs} times, among them {Inserted} verses that it read 0 to 128 times in the first or
            second half of training ({order.Length:N0} passages in all). Losses in nats a byte; recited: 32 bytes by greedy decoding after 32. Intervals are over passages.

            | read | half of training | verses | loss | recited |
            |---|---|---|---|---|
            """
        );
        var result = _insertions.Evaluate(dealt, Loss(task, _verses), after);
        foreach (var level in result.Levels)
        {
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"| {level.Count} | {(level.Count == 0 ? "-" : level.Phase == 0 ? "first" : "second")} "
                    + $"| {level.Passages} | {level.Loss} | {level.Recited} |"
            );
        }

        Console.WriteLine(result);
        text.AppendLine()
            .AppendLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"Correlation of count and loss {result.CountCorrelation:0.00}, of half and loss "
                        + $"{result.PhaseCorrelation:0.00}. Forecast from halfway: {forecast.Predicted} recited then, {forecast.Recited} "
                        + $"in the end; precision {forecast.Precision}, recall {forecast.Recall}."
                )
            );
        var losses = Loss(task, _base);
        var test = new OrderTest().Test(lastSeen, losses.Values);
        var none = new OrderTest().Test([.. lastSeen.Order()], losses.Values);
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"Order of the last epoch: {test}. The same losses beside the corpus's own order, which training did not follow: {none}."
        );
        Console.WriteLine($"{test}; {watch.Elapsed.TotalSeconds:0} s");
        text.Append(Edits(task, dealt, [.. verses, .. corpus.Train]))
            .AppendLine()
            .AppendLine(string.Create(CultureInfo.InvariantCulture, $"The whole took {watch.Elapsed.TotalSeconds:0} s on one loaded core."))
            .AppendLine();
        return text.ToString();
    }

    public void Dispose()
    {
        _model.Dispose();
        _verses?.Dispose();
        _base?.Dispose();
        _heldOut?.Dispose();
    }

    private static ExampleScores Loss(InfluenceTask task, PassageTensors passages) =>
        new ExampleLosses().Score(task, passages.ToExamples(32));

    /// <summary>The K-FAC edit at several kept masses, and unlearning of the verses that were read most, all on the weights of the
    /// MLPs.</summary>
    private string Edits(InfluenceTask task, IReadOnlyList<InsertedPassages.Planned> dealt, IReadOnlyList<Passage> all)
    {
        long[] forget = [.. dealt.Where(i => i.Count >= ManyTimes).Select(i => i.Id)];
        var known = dealt.Index().Where(pair => pair.Item.Count >= ManyTimes).Select(pair => pair.Index).ToList();
        var text = new StringBuilder()
            .AppendLine()
            .AppendLine(
                CultureInfo.InvariantCulture,
                $"""
                The {forget.Length} verses that were read {ManyTimes} times or more, before and after, with every method on the MLPs alone:

                | | recited | positions right | loss of the verses | held-out loss | seconds |
                |---|---|---|---|---|---|
                """
            );
        Row("before", null, TimeSpan.Zero);
        var clock = Stopwatch.StartNew();
        using (var kfac = Kfac.Fit(task, _base!.ToExamples(32), new Kfac.Options { Fisher = Fisher.Empirical }))
        {
            var fit = clock.Elapsed;
            foreach (var mass in new[] { 0.99, 0.95, 0.9, 0.8, 0.6 })
            {
                using var edited = new CurvatureEdit { KeptMass = mass }.Apply(task, _base!.ToExamples(32), kfac, cancellationToken);
                Row(edited.Method, edited, edited.Elapsed + fit);
            }
        }

        // The verses and what is kept as one set of examples: ids of the verses first.
        using var both = new PassageTensors(all);
        var examples = both.ToExamples(32);
        long[] keep = [.. examples.Ids.Where(id => id >= Inserted)];
        foreach (var limit in new[] { 2.5, 4.0 })
        {
            var difference = GradientUnlearning.Difference with
            {
                Steps = 60,
                BatchSize = BatchSize,
                LearningRate = 0.1,
                ForgetLossLimit = limit,
            };
            using var gone = difference.Unlearn(task, examples, forget, keep, cancellationToken: cancellationToken);
            Row(string.Create(CultureInfo.InvariantCulture, $"gradient difference, to a loss of {limit:0.0}"), gone, gone.Elapsed);
        }

        clock.Restart();
        using (var ekfac = Ekfac.Fit(task, examples.Only(forget.Concat(keep))))
        {
            var fit = clock.Elapsed;
            foreach (var rise in new[] { 0.05, 0.2 })
            {
                using var gone = new NewtonUnlearning(ekfac) { MaximumKeepRise = rise }.Unlearn(
                    task,
                    examples,
                    forget,
                    keep,
                    cancellationToken: cancellationToken
                );
                Row(
                    string.Create(CultureInfo.InvariantCulture, $"influence step, EK-FAC, kept loss +{rise:0.00}"),
                    gone,
                    gone.Elapsed + fit
                );
            }
        }

        return text.ToString();

        void Row(string name, UnlearningMethod.Result? weights, TimeSpan time)
        {
            Unlearned.At(
                _model,
                weights,
                () =>
                {
                    var (recited, verses, heldOut) = (Recite(), Loss(task, _verses!), Loss(task, _heldOut!));
                    text.AppendLine(
                        string.Create(
                            CultureInfo.InvariantCulture,
                            $"| {name} | {known.Count(i => recited.Recited[i])} of {known.Count} | "
                                + $"{known.Average(i => recited.Shares[i]):0.00} | "
                                + $"{known.Average(i => verses.Values[i]):0.00} | {heldOut.Values.Average():0.000} | "
                                + $"{(time == TimeSpan.Zero ? "-" : time.TotalSeconds.ToString("0.0", CultureInfo.InvariantCulture))} |"
                        )
                    );
                    Console.WriteLine($"{name}: {known.Count(i => recited.Recited[i])} recited");
                }
            );
        }
    }

    private Recitation.Result Recite() => _recitation.Test(_model.call, _verses!.Input, cancellationToken: cancellationToken);

    /// <summary>What is read when: below zero verse -1 - i, else passage i; and when each passage was read last.</summary>
    private (int[] Order, long[] LastSeen) Order(IReadOnlyList<InsertedPassages.Planned> dealt)
    {
        var count = (int)_base!.Input.shape[0];
        var random = Randomness.For(Seed, "order of training");
        List<(double At, int What)> read = [];
        for (var epoch = 0; epoch < Epochs; epoch++)
        {
            read.AddRange(Enumerable.Range(0, count).Select(i => ((epoch + random.NextDouble()) / Epochs, i)));
        }

        foreach (var (id, copies, phase) in dealt)
        {
            read.AddRange(Enumerable.Range(0, copies).Select(_ => ((phase + random.NextDouble()) / _insertions.Phases, -1 - (int)id)));
        }

        int[] order = [.. read.OrderBy(r => r.At).Select(r => r.What)];
        var lastSeen = new long[count];
        foreach (var (position, what) in order.Index())
        {
            if (what >= 0)
            {
                lastSeen[what] = position;
            }
        }

        return (order, lastSeen);
    }

    /// <returns>What was recited halfway.</returns>
    private Recitation.Result Train(int[] order)
    {
        using var optimizer = optim.AdamW(_model.parameters(), PeakRate);
        Recitation.Result? halfway = null;
        _model.train();
        for (var start = 0; start < order.Length; start += BatchSize)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var done = (double)start / order.Length;
            if (halfway is null && done >= 0.5)
            {
                _model.eval();
                halfway = Recite();
                _model.train();
            }

            using var scope = NewDisposeScope();
            optimizer.ParamGroups.First().LearningRate = PeakRate * Schedule.Share(done);
            var batch = order[start..Math.Min(start + BatchSize, order.Length)];
            Tensor Rows(Func<PassageTensors, Tensor> of) =>
                stack([.. batch.Select(what => what < 0 ? of(_verses!).select(0, -1 - what) : of(_base!).select(0, what))], 0);
            var predicted = Rows(p => p.Predicted); // [B, T]
            var loss = Losses.CrossEntropy(_model.call(Rows(p => p.Input)), Rows(p => p.Target), predicted).sum() / predicted.sum();
            optimizer.zero_grad();
            loss.backward();
            optimizer.step();
            if (start / BatchSize % 50 == 0)
            {
                Console.WriteLine($"step {start / BatchSize} of {order.Length / BatchSize}: {loss.item<float>():0.000}");
            }
        }

        _model.eval();
        return halfway ?? Recite();
    }
}
