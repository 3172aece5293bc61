using System.Globalization;
using Influence;
using Influence.Estimators;
using Influence.Recipes;
using Influence.Scorers;
using Influence.Selection;
using Influence.Training;
using Samples;
using TorchSharp;
using static TorchSharp.torch;

namespace SelectBestTenth;

/// <summary>
/// Choices that are made anew while a decoder trains (MATES), by attention (AttentionInfluence), and orders (folding, curricula), beside a
/// random choice and a random order of as many steps: bits per byte of held-out passages of one domain, and of all.
/// </summary>
internal sealed class StagedPart : IDisposable
{
    private const string TargetDomain = "Spanish";
    private const int TargetPassages = 20;
    private const int HeldOut = 60;
    private const int Epochs = 4;
    private const int Stages = 4;
    private const int Probes = 48;
    private const double Share = 0.2;
    private const int CopySteps = 800;

    private readonly Options _options;
    private readonly ConsoleProgress _progress;
    private readonly CancellationToken _cancellationToken;
    private readonly Corpus _corpus;
    private readonly int _domain;
    private readonly PassageTensors _pool;
    private readonly PassageTensors _target;
    private readonly PassageTensors _test;
    private readonly PassageTensors _others;
    private readonly long[] _all;
    private readonly int _steps;

    public StagedPart(Options options, ConsoleProgress progress, CancellationToken cancellationToken)
    {
        (_options, _progress, _cancellationToken) = (options, progress, cancellationToken);
        _corpus = Corpus.Read(FiveDomains.All, options.Passages, options.Seed, HeldOut);
        _domain = _corpus.Domains.Index().Single(d => d.Item.Name == TargetDomain).Index;
        var ofTarget = _corpus.HeldOut.Where(passage => passage.Domain == _domain).ToList();
        _pool = new PassageTensors(_corpus.Train);
        _target = new PassageTensors([.. ofTarget.Take(TargetPassages)]);
        _test = new PassageTensors([.. ofTarget.Skip(TargetPassages)]);
        _others = new PassageTensors([.. _corpus.HeldOut.Except(ofTarget.Take(TargetPassages))]);
        _all = [.. Enumerable.Range(0, _corpus.Train.Count)];
        _steps = Epochs * _all.Length / StagedTrainer.BatchSize;
    }

    public void Run()
    {
        var clock = new StageClock();
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"Pool: {_all.Length:N0} passages of {_corpus.Domains.Count} domains; {_steps:N0} steps of {StagedTrainer.BatchSize}; target: "
                    + $"{TargetPassages} passages of {TargetDomain}; {_options.Seeds} trainings a row."
            )
        );
        var (folded, up, down) = Orders();
        clock.Lap("a first run, its losses and gradients");
        var attended = Attended();
        clock.Lap("AttentionInfluence");
        var correlations = new List<double>();
        var random = new RandomSelection { Seed = _options.Seed }.Select(
            ExampleScores.Of(_all, new double[_all.Length]),
            SelectionBudget.Fraction(Share)
        );
        (string Name, Func<int, Func<ByteDecoder, optim.Optimizer, IEnumerable<long>>> Order, Func<double>? OfTarget)[] rows =
        [
            ("everything, random order", seed => (_, _) => Shuffled(_all, seed), () => Of(_all)),
            ("a random fifth", seed => (_, _) => Shuffled(random.Ids, seed), () => Of(random.Ids)),
            ("MATES, a fifth, chosen three times", seed => (model, optimizer) => ByMates(model, optimizer, seed, correlations), null),
            ("AttentionInfluence, a fifth of each domain", seed => (_, _) => Shuffled(attended ?? _all, seed), () => Of(attended ?? _all)),
            ("folding by loss, three folds", _ => (_, _) => Repeated(folded), () => Of(_all)),
            ("curriculum by gradients, rising", _ => (_, _) => Repeated(up), () => Of(_all)),
            ("curriculum by gradients, falling", _ => (_, _) => Repeated(down), () => Of(_all)),
            ("the target's domain alone (not known)", seed => (_, _) => Shuffled(OfTheTarget(), seed), () => 1),
        ];
        List<IReadOnlyList<string>> table =
        [
            ["trained on", "of the target", $"{TargetDomain}, bits per byte", "all domains", "spread"],
        ];
        foreach (var (name, order, ofTarget) in rows)
        {
            if (attended is null && name.StartsWith("Attention", StringComparison.Ordinal))
            {
                continue;
            }

            var (bits, wide) = (new List<double>(), new List<double>());
            for (var seed = 0; seed < Math.Max(1, _options.Seeds); seed++)
            {
                var own = Randomness.SeedFor(_options.Seed, $"training {seed}");
                using var model = new StagedTrainer { Steps = _steps, Seed = own }.Train(_pool, order(own), null, _cancellationToken);
                bits.Add(DecoderTrainer.BitsPerByte(model, _test));
                wide.Add(DecoderTrainer.BitsPerByte(model, _others));
            }

            table.Add([
                name,
                ofTarget is null ? "-" : ofTarget().ToString("0%", CultureInfo.InvariantCulture),
                bits.Average().ToString("0.000", CultureInfo.InvariantCulture),
                wide.Average().ToString("0.000", CultureInfo.InvariantCulture),
                string.Create(CultureInfo.InvariantCulture, $"{bits.Max() - bits.Min():0.000}, {wide.Max() - wide.Min():0.000}"),
            ]);
            _progress.Clear();
            Console.WriteLine(string.Join("  ", table[^1]));
        }

        clock.Lap("trainings");
        ConsoleTable.Write(table);
        Console.WriteLine(
            "MATES: rank correlation of predicted and measured influence on probes that were left out, measurement by measurement: "
                + string.Join(", ", correlations.Select(c => c.ToString("0.00", CultureInfo.InvariantCulture)))
        );
        Console.WriteLine(clock);
    }

    public void Dispose()
    {
        _pool.Dispose();
        _target.Dispose();
        _test.Dispose();
        _others.Dispose();
    }

    private static InfluenceTask TaskOf(ByteDecoder model) =>
        new(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b["input"]), b["target"], b["predicted"], meanOverPositions: true),
        };

    /// <summary>Epoch after epoch, each in an order of its own.</summary>
    private static IEnumerable<long> Shuffled(IReadOnlyList<long> ids, int seed)
    {
        var random = Randomness.For(seed, "order of the passages");
        var order = ids.ToArray();
        while (true)
        {
            random.Shuffle(order);
            foreach (var id in order)
            {
                yield return id;
            }
        }
    }

    private static IEnumerable<long> Repeated(ExampleOrder order)
    {
        while (true)
        {
            foreach (var id in order.Epochs.SelectMany(epoch => epoch))
            {
                yield return id;
            }
        }
    }

    private long[] OfTheTarget() => [.. _all.Where(id => _corpus.Train[(int)id].Domain == _domain)];

    private double Of(IReadOnlyList<long> ids) => ids.Average(id => _corpus.Train[(int)id].Domain == _domain ? 1.0 : 0);

    /// <summary>A first run of random order gives the losses that are folded by, after one epoch, and at the end of each epoch the cosine
    /// of
    /// each passage's gradient with the pool's, over the embedding of the bytes.</summary>
    private (ExampleOrder Folded, ExampleOrder Up, ExampleOrder Down) Orders()
    {
        var (epochs, losses) = (new List<ExampleScores>(), (ExampleScores?)null);
        var examples = _pool.ToExamples(25);
        using var model = new StagedTrainer { Steps = _steps, Seed = Randomness.SeedFor(_options.Seed, "first run") }.Train(
            _pool,
            (_, _) => Shuffled(_all, _options.Seed),
            (decoder, _, step) =>
            {
                if (step % (_all.Length / StagedTrainer.BatchSize) != 0)
                {
                    return;
                }

                decoder.eval();
                var task = TaskOf(decoder);
                losses ??= new ExampleLosses().Score(task, examples, cancellationToken: _cancellationToken);
                using var scores = new TracIn
                {
                    Similarity = TracIn.GradientSimilarity.Cosine,
                    Aggregation = InfluenceFunction.QueryAggregation.Mean,
                }.Score(
                    task with
                    {
                        Layers = LayerSelection.Where(n => n.StartsWith("tokens.", StringComparison.Ordinal), "the embedding of the bytes"),
                    },
                    examples,
                    examples,
                    cancellationToken: _cancellationToken
                );
                epochs.Add(scores.ForQuery(0));
                decoder.train();
            },
            _cancellationToken
        );
        var curriculum = new InfluenceCurriculum { ShuffleWithin = 40, Seed = _options.Seed };
        return (
            new Folding { Folds = 3 }.Order(losses!),
            curriculum.Order(epochs),
            (curriculum with { Direction = InfluenceCurriculum.Kind.Descending }).Order(epochs)
        );
    }

    /// <summary>A quarter of the steps on everything; then three times a fifth, by measurements at the weights of that time.</summary>
    private IEnumerable<long> ByMates(ByteDecoder model, optim.Optimizer optimizer, int seed, List<double> correlations)
    {
        var stage = _steps * StagedTrainer.BatchSize / Stages;
        foreach (var id in Shuffled(_all, seed).Take(stage))
        {
            yield return id;
        }

        var run = new Mates.Run(
            model,
            everySteps: stage / StagedTrainer.BatchSize,
            measure: step =>
                new Mates(InfluenceFeatures.Of(Bytes)) { Probes = Probes, Seed = seed + step }.Score(
                    TaskOf(model),
                    _pool.ToExamples(25),
                    _target.ToExamples(TargetPassages),
                    of => Probe(of, optimizer),
                    cancellationToken: _cancellationToken
                )
        );
        for (var part = 1; part < Stages; part++)
        {
            correlations.Add(run.Measure().HeldOutCorrelation);
            var chosen = new Proportional
            {
                Standardize = true,
                Temperature = 0.5,
                Seed = part,
            }.Select(run.Latest.Scores, SelectionBudget.Fraction(Share));
            foreach (var id in Shuffled(chosen.Ids, seed + part).Take(stage))
            {
                yield return id;
            }
        }

        // What is left by rounding.
        foreach (var id in Shuffled(_all, seed))
        {
            yield return id;
        }
    }

    /// <summary>How often each byte comes, <c>[B, 256]</c>: what the small model knows of a passage.</summary>
    private static Tensor Bytes(ExampleBatch batch) =>
        nn.functional.one_hot(batch["input"], ByteDecoder.Vocabulary).to_type(ScalarType.Float32).mean([1L]);

    private static TorchSharp.Modules.AdamW Probe(nn.Module model, optim.Optimizer running)
    {
        var probe = optim.AdamW(model.parameters(), StagedTrainer.PeakRate);
        probe.load_state_dict(((TorchSharp.Modules.AdamW)running).state_dict());
        return probe;
    }

    /// <summary>
    /// The fifth of each domain that needs copying heads most, by a decoder that learned to copy beside the passages; null where it learned
    /// too little.
    /// </summary>
    private IReadOnlyList<long>? Attended()
    {
        var probes = new AttentionInfluence.KeyValueProbes(Enumerable.Range(33, 90).Select(i => (long)i))
        {
            Count = 100,
            Pairs = 6,
            Shots = 4,
            Opening = [10],
        };
        using var copies = (probes with { Count = 4_000, Seed = 1 }).Tokens();
        using var model = ByteDecoder.Create(_options.Seed, layers: 2, width: 64);
        using var optimizer = optim.AdamW(model.parameters(), StagedTrainer.PeakRate);
        using var passages = Shuffled(_all, _options.Seed).GetEnumerator();
        var random = Randomness.For(_options.Seed, "copy tasks");
        for (var step = 0; step < CopySteps; step++)
        {
            _cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var rows = copies.index_select(0, tensor(Enumerable.Range(0, 12).Select(_ => (long)random.Next(4_000)).ToArray()));
            var loss = nn.functional.cross_entropy(
                model.call(rows.narrow(1, 0, probes.Length - 1)).transpose(1, 2),
                rows.narrow(1, 1, probes.Length - 1)
            );
            if (step % 2 == 0)
            {
                var ids = tensor(
                    Enumerable.Range(0, StagedTrainer.BatchSize).Select(_ => passages.MoveNext() ? passages.Current : 0).ToArray()
                );
                loss += Losses
                    .CrossEntropy(
                        model.call(_pool.Input.index_select(0, ids)),
                        _pool.Target.index_select(0, ids),
                        _pool.Predicted.index_select(0, ids),
                        meanOverPositions: true
                    )
                    .mean();
            }

            optimizer.zero_grad();
            loss.backward();
            optimizer.step();
        }

        model.eval();
        try
        {
            var result = new AttentionInfluence
            {
                Logits = model.call,
                Probes = probes,
                Layers =
                [
                    .. Enumerable
                        .Range(0, 2)
                        .Select(i => new AttentionInfluence.Projections($"blocks.{i}.q.weight", $"blocks.{i}.k.weight", 4)),
                ],
                MaskedShare = 0.25,
            }.Score(
                TaskOf(model),
                _pool.ToExamples(25),
                ExampleGroups.Of(_all, id => _corpus.Domains[_corpus.Train[(int)id].Domain].Name),
                cancellationToken: _cancellationToken
            );
            Console.WriteLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"AttentionInfluence masks {string.Join("; ", result.Masked)} of {result.Heads.Count} heads; scores "
                        + $"{result.Scores.Values.Min():0.00} to {result.Scores.Values.Max():0.00}; {string.Join(' ', result.Scores.Metadata.Notes)}"
                )
            );
            return new TopK().Select(result.WithinGroups, SelectionBudget.Fraction(Share)).Ids;
        }
        catch (InfluenceException exception)
        {
            Console.WriteLine($"AttentionInfluence: {exception.Message}");
            return null;
        }
    }
}
