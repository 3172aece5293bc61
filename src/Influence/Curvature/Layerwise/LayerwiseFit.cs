using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// Runs the passes of a layer-wise fit: covariances, their decomposition, and for EK-FAC the eigenvalues. Where all layers
/// see one position per example and everything fits, one capture serves both passes.
/// </summary>
internal sealed partial class LayerwiseFit : IDisposable
{
    private const string FirstPass = "first pass";
    private const string SecondPass = "second pass";

    private readonly GradientSession _session;
    private Examples _train;
    private readonly LayerwisePreconditioner.Options _options;
    private readonly CurvatureKind _kind;
    private readonly ProgressReporter _progress;
    private readonly LossKind _labels;
    private readonly SharedInputs _inputs = new();
    private readonly BlockFit?[] _fits;
    private readonly int _passes;
    private readonly Action<int>? _load;

    // The batch being visited, and the one after it.
    private (int First, int Count) _current;
    private int _next;

    private LayerwiseFit(
        GradientSession session,
        Examples train,
        LayerwisePreconditioner.Options options,
        CurvatureKind kind,
        ProgressReporter progress,
        int checkpoints,
        Action<int>? load
    )
    {
        (_session, _train, _options, _kind, _progress, _passes, _load) = (
            session,
            train,
            options,
            kind,
            progress,
            checkpoints * options.LabelDraws,
            load
        );
        _labels = options.Fisher == Fisher.Sampled ? LossKind.Sampled : LossKind.Training;
        _fits = new BlockFit?[session.Parts.Count];
        _firsts = new (int, int)?[_fits.Length];
        _whole = train;
    }

    /// <summary>
    /// Fits every block of the session; null where no example reached a block. With several checkpoints all means, of the
    /// covariances and then of the eigenvalues, are over examples and checkpoints.
    /// </summary>
    /// <param name="session">An open session on the task.</param>
    /// <param name="train">The examples.</param>
    /// <param name="options">Labels, splits, sizes.</param>
    /// <param name="kind">What is measured.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="checkpoints">How many sets of weights.</param>
    /// <param name="load">Puts a set of weights into the session's model; null: the present ones.</param>
    public static BlockCurvature?[] Run(
        GradientSession session,
        Examples train,
        LayerwisePreconditioner.Options options,
        CurvatureKind kind,
        ProgressReporter progress,
        int checkpoints = 1,
        Action<int>? load = null
    )
    {
        using var noGrad = no_grad();
        session.Losses.Seed = options.Seed;
        session.FindsReachedPositions = true;
        using var fit = new LayerwiseFit(session, train, options, kind, progress, checkpoints, load);
        fit.CheckSplits();
        var unchanged = load is null ? new UnchangedWeights(session.Task.Model) : null;
        var blocks = fit.Run();
        try
        {
            unchanged?.Check();
            return blocks;
        }
        catch
        {
            Array.ForEach(blocks, block => block?.Dispose());
            throw;
        }
    }

    public void Dispose()
    {
        _inputs.Dispose();
        foreach (var fit in _fits)
        {
            fit?.Dispose();
        }
    }

    private BlockCurvature?[] Run()
    {
        // Totals are right from the first report on: what a fit turns out not to need counts as done at once.
        var second = _kind == CurvatureKind.Ekfac;
        _progress.ExpectPasses(second ? 2 : 1);

        // Every batch waits here while all of them fit: then nothing is captured twice.
        using var waiting = new JoinedBatches();
        var joined = Capture(batch => Visit(batch, first: true), waiting);
        if (joined)
        {
            using var whole = waiting.Take();
            Visit(whole, first: true);
            Decompose();
            Visit(whole, first: false);
        }
        else
        {
            Decompose();
        }

        if (!joined && _fits.Any(fit => fit is { NeedsSecondPass: true }))
        {
            Capture(batch => Visit(batch, first: false), null);
        }
        else if (second)
        {
            _progress.Add(_train.Count * _passes);
        }

        return Finish();
    }

    private BlockCurvature?[] Finish()
    {
        var names = _session.BlockNames;
        BlockCurvature?[] blocks = [.. _fits.Select((fit, k) => fit?.Finish(names[k], (long)_train.Count * _passes))];
        if (Array.FindIndex(blocks, block => block?.IsFinite() == false) is >= 0 and var broken)
        {
            Array.ForEach(blocks, block => block?.Dispose());
            ThrowTooLarge(broken);
        }

        return blocks;
    }

    /// <summary>
    /// Names the examples whose gradients are too large to be squared: those for which a block's squares are no numbers, else the one with
    /// the largest.
    /// </summary>
    private void ThrowTooLarge(int k)
    {
        var (bad, largest) = (new List<long>(), (Id: -1L, Size: double.NegativeInfinity));
        foreach (var examples in Batches())
        {
            _progress.Token.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            using var batch = _session.Capture(examples, _labels);
            if (batch.Blocks[k] is not { } block)
            {
                continue;
            }

            var sizes = block.SquaredSizes().cpu().to_type(ScalarType.Float64).data<double>().ToArray(); // [B]
            for (var i = 0; i < sizes.Length; i++)
            {
                if (!double.IsFinite(sizes[i]))
                {
                    bad.Add(batch.Ids[i]);
                }
                else if (sizes[i] > largest.Size)
                {
                    largest = (batch.Ids[i], sizes[i]);
                }
            }
        }

        long[] found = bad.Count > 0 ? [.. bad.Distinct()] : [largest.Id];
        throw new InfluenceException(
            $"The gradients of the training examples with ids {InfluenceException.List(found)} are too large for {_session.Dtype}: their "
                + "squares, which curvature is made of, overflow in "
                + $"{_session.BlockNames[k]}. Look at their inputs, scale them or leave them out, or use a float64 model."
        )
        {
            ExampleIds = found,
        };
    }

    /// <summary>How many numbers may wait to be taken as one batch.</summary>
    private long Room => Math.Min(_options.MemoryBudget, 4L << 30) / 8 / (_session.Dtype == ScalarType.Float64 ? 8 : 4);

    /// <summary>Captures every batch; returns whether they all wait to be taken as one, unvisited.</summary>
    private bool Capture(Action<BatchGradients> visit, JoinedBatches? waiting)
    {
        using var stage = CostMeter.Stage(waiting is null ? SecondPass : FirstPass);
        var join = waiting is not null;
        foreach (var examples in Batches())
        {
            _progress.Token.ThrowIfCancellationRequested();
            (_current, _next) = ((_next, examples.Count), _next + examples.Count);
            using (var batch = _session.Capture(examples, _labels))
            {
                CheckFinite(batch);
                CheckFactors(batch);
                join = join && JoinedBatches.Takes(batch);
                if (join)
                {
                    waiting!.Add(batch);
                    join = JoinedBatches.NumbersPerExample(batch) * _train.Count * _passes <= Room;
                }
                else
                {
                    visit(batch);
                }
            }

            if (!join && waiting is { Count: > 0 })
            {
                using var joined = waiting.Take();
                visit(joined);
            }

            _progress.Add(examples.Count);
        }

        return join;
    }

    /// <summary>
    /// The seed of a pass's labels: the user's own in the first, and one that is mixed of it in each other, so that fits with neighbouring
    /// seeds share no draw. With seed + pass, sixteen draws of the seeds 0 and 1 had fifteen in common, and their difference said
    /// nothing of the curvature's estimation error.
    /// </summary>
    public static long SeedOf(long seed, int pass) => pass == 0 ? seed : (long)new KeyedRandom(seed, "labels of a pass").Of(pass);

    /// <summary>The batches at each checkpoint, as often as labels are drawn; they are drawn anew in each pass.</summary>
    private IEnumerable<ExampleBatch> Batches()
    {
        for (var pass = 0; pass < _passes; pass++)
        {
            _load?.Invoke(pass / _options.LabelDraws);
            _session.Losses.Seed = SeedOf(_options.Seed, pass);
            foreach (var batch in _session.Batches(_train, _labels))
            {
                yield return batch;
            }
        }
    }

    private void Visit(BatchGradients batch, bool first)
    {
        using var stage = CostMeter.Stage(first ? FirstPass : SecondPass);
        _inputs.BeginBatch();
        for (var k = 0; k < _fits.Length; k++)
        {
            if (batch.Blocks[k] is not { } block)
            {
                continue;
            }

            using var scope = NewDisposeScope();
            if (first)
            {
                Fit(k, block).Add(block);
            }
            else
            {
                _fits[k]!.AddEigenvalues(block);
            }

            block.Release();
        }
    }

    private BlockFit Fit(int k, BlockGradients block)
    {
        if (_fits[k] is not { } fit)
        {
            _fits[k] = fit = BlockFit.For(block, _kind, Splits(k, block), _options.MaximumFactorSize, _inputs, _options.Factors);
            _firsts[k] = (_offset + (_current.First % _train.Count), _current.Count);
        }

        return fit;
    }

    private void Decompose()
    {
        using var stage = CostMeter.Stage("decomposition");
        if (Array.FindIndex(_fits, fit => fit?.IsFinite == false) is >= 0 and var broken)
        {
            ThrowTooLarge(broken);
        }

        foreach (var fit in _fits)
        {
            _progress.Token.ThrowIfCancellationRequested();
            fit?.Decompose();
        }
    }

    private IReadOnlyList<long>? Splits(int block, BlockGradients gradients)
    {
        var name = _session.Parts[block][0].Parameter.Name;
        if (!_options.OutputSplits.TryGetValue(name, out var parts))
        {
            return null;
        }

        var outputs = gradients.LayerOutputs;
        return outputs == parts.Sum() && parts.All(p => p > 0)
            ? parts
            : throw new InfluenceException(
                $"OutputSplits[\"{name}\"] = [{string.Join(", ", parts)}] sums to {parts.Sum()}, but the layer has "
                    + $"{outputs?.ToString() ?? "no linear"} outputs."
            );
    }

    private void CheckSplits()
    {
        var names = _session.Parts.Select(parts => parts[0].Parameter.Name).ToList();
        var unknown = _options.OutputSplits.Keys.Except(names).ToList();
        if (unknown.Count > 0)
        {
            throw new InfluenceException(
                $"OutputSplits names {InfluenceException.List(unknown)}, which is no weight that takes part. Their names: "
                    + $"{InfluenceException.List(names)}."
            );
        }
    }

    /// <summary>Gradients of single examples have no inputs and output gradients to take covariances of.</summary>
    private void CheckFactors(BatchGradients batch)
    {
        List<string> names =
        [
            .. batch
                .Blocks.Select((block, k) => (Block: block, Name: _session.BlockNames[k]))
                .Where(b => _kind != CurvatureKind.Diagonal && b.Block is { IsSubstitute: true } and not DenseGradients)
                .Select(b => b.Name),
        ];
        if (names.Count > 0)
        {
            throw new InfluenceException(
                $"In the batch that begins with the example of id {batch.Ids[0]} what these layers saw does not give their gradients: "
                    + $"{InfluenceException.List(names)}. Their rows are in another order, "
                    + "or a weight is used outside its layer, so they have no Kronecker factors. Write SingleExamples = "
                    + "LayerSelection.Where(...) on the task, which gives them a diagonal, or leave them out by Layers."
            );
        }

        if (_kind == CurvatureKind.Ekfac && _options.Factors != LayerwisePreconditioner.FactorKind.Kfac)
        {
            List<string> tied = [.. _session.BlockNames.Where((_, k) => batch.Blocks[k] is { HeadOfTable: not null })];
            if (tied.Count > 0)
            {
                throw new InfluenceException(
                    $"{InfluenceException.List(tied)} is embedding and head at once: its gradient is a sum of two uses, and the factors of "
                        + $"{_options.Factors} are those of one. Write Factors = Ekfac.FactorKind.Kfac, whose basis there is that of "
                        + "the head's inputs, or leave the table out by Layers."
                );
            }
        }
    }

    /// <summary>One overflowed gradient would poison a whole covariance.</summary>
    private static void CheckFinite(BatchGradients batch)
    {
        foreach (var block in batch.Blocks.OfType<BlockGradients>())
        {
            // What has no factors is written out for its diagonal anyway, and kept until then.
            if (block.NotFinite() is not { } notFinite)
            {
                continue;
            }

            using var scope = NewDisposeScope();
            var flags = notFinite.to_type(ScalarType.Int64).cpu().data<long>().ToArray(); // [B]
            var bad = batch.Ids.Where((_, i) => flags[i] != 0).ToArray();
            throw new InfluenceException(
                $"The gradients of the training examples with ids {InfluenceException.List(bad)} are NaN or too large for "
                    + $"{batch.Dtype}, though the losses are finite. Look at their inputs, leave them out, or use a float64 model."
            )
            {
                ExampleIds = bad,
            };
        }
    }
}
