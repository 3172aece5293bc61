using System.Globalization;
using Influence.Distributed;
using Influence.Formats;
using Influence.Gradients;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The same fit in units that a folder keeps: sums of each unit; then, by one process, their sum in the order of the units and its
/// decomposition; then the squares along its vectors of each unit; and, by one process, the result.
/// </summary>
internal sealed partial class LayerwiseFit
{
    private const string SumsStage = "sums";
    private const string BasesFile = "bases";
    private const string SquaresStage = "squares";
    private const string ResultFile = "result";

    private readonly (int First, int Count)?[] _firsts;

    // All training examples, of which those of the fit may be some, and where those begin.
    private Examples _whole;
    private int _offset;

    /// <summary>Does what the folder lacks, and gives the path of the file of the fit.</summary>
    /// <param name="session">An open session on the task.</param>
    /// <param name="train">The examples.</param>
    /// <param name="options">Labels, splits, sizes.</param>
    /// <param name="kind">What is measured.</param>
    /// <param name="info">What is said of the fit.</param>
    /// <param name="folder">The open folder.</param>
    /// <param name="units">How the examples are cut.</param>
    /// <param name="progress">Told after each batch.</param>
    public static string RunInUnits(
        GradientSession session,
        Examples train,
        Ekfac.Options options,
        CurvatureKind kind,
        CurvatureInfo info,
        WorkFolder folder,
        WorkUnits units,
        ProgressReporter progress
    )
    {
        using var noGrad = no_grad();
        session.FindsReachedPositions = true;
        progress.ExpectPasses(kind == CurvatureKind.Ekfac ? 2 : 1);
        var unchanged = new UnchangedWeights(session.Task.Model);
        if (!folder.IsThere(ResultFile))
        {
            using (var fit = Make(train))
            {
                fit.CheckSplits();
            }

            folder.Do(
                SumsStage,
                units.Count,
                () => folder.IsThere(BasesFile) || folder.IsThere(ResultFile),
                unit => Unit(unit, SumsStage, FitStage.Sums),
                Found
            );
            if (!folder.IsThere(ResultFile))
            {
                folder.DoOnce(BasesFile, MakeBases);
            }

            if (kind == CurvatureKind.Ekfac)
            {
                folder.Do(
                    SquaresStage,
                    units.Count,
                    () => folder.IsThere(ResultFile),
                    unit => Unit(unit, SquaresStage, FitStage.Eigenvalues),
                    Found
                );
            }

            folder.DoOnce(ResultFile, MakeResult);
        }

        return folder.PathOf(ResultFile);

        LayerwiseFit Make(Examples examples, int offset = 0) =>
            new(session, examples, options, kind, progress, checkpoints: 1, load: null) { _whole = train, _offset = offset };

        void Found(int unit) => progress.Add(units.CountOf(unit) * options.LabelDraws);

        void Unit(int unit, string stage, FitStage kept)
        {
            using var scope = NewDisposeScope();
            var name = WorkFolder.NameOf(stage, unit);
            using var fit = Make(units.Of(unit), units.First(unit));
            if (kept == FitStage.Eigenvalues)
            {
                fit.Read(folder, BasesFile, FitStage.Bases);
            }

            fit.Gather(first: kept == FitStage.Sums);
            unchanged.Check();
            fit.Write(folder, name, kept);
        }

        void MakeBases()
        {
            using var scope = NewDisposeScope();
            using var fit = Make(train);
            for (var unit = 0; unit < units.Count; unit++)
            {
                fit.Read(folder, WorkFolder.NameOf(SumsStage, unit), FitStage.Sums);
            }

            fit.Decompose();
            fit.Write(folder, BasesFile, FitStage.Bases);
            folder.Delete(SumsStage, units.Count);
        }

        void MakeResult()
        {
            using var scope = NewDisposeScope();
            using var fit = Make(train);
            fit.Read(folder, BasesFile, FitStage.Bases);
            for (var unit = 0; unit < units.Count && kind == CurvatureKind.Ekfac; unit++)
            {
                fit.Read(folder, WorkFolder.NameOf(SquaresStage, unit), FitStage.Eigenvalues);
            }

            var blocks = fit.Finish();
            try
            {
                LayerwiseFile.Save(folder.PathOf(ResultFile), info with { Cost = null }, blocks);
            }
            finally
            {
                Array.ForEach(blocks, block => block?.Dispose());
            }

            folder.Delete(SquaresStage, units.Count);
        }
    }

    /// <summary>One pass over the examples; batches that are small wait to be taken as one.</summary>
    private void Gather(bool first)
    {
        using var waiting = new JoinedBatches();
        if (Capture(batch => Visit(batch, first), waiting) && waiting.Count > 0)
        {
            using var whole = waiting.Take();
            Visit(whole, first);
        }
    }

    /// <summary>Writes what a stage gathered, with the batch in which each block was first reached.</summary>
    private void Write(WorkFolder folder, string name, FitStage stage)
    {
        var state = new FitState.Writer(_session.Dtype, _session.Device);
        var metadata = new Dictionary<string, string>();
        for (var k = 0; k < _fits.Length; k++)
        {
            if (_fits[k] is { } fit)
            {
                state.Enter(k);
                fit.Exchange(state, stage);
                metadata[FirstKey(k)] = string.Create(CultureInfo.InvariantCulture, $"{_firsts[k]!.Value.First} {_firsts[k]!.Value.Count}");
            }
        }

        folder.Save(name, state.Tensors, metadata);
    }

    /// <summary>Adds what a file holds; blocks that are new are made from the batch in which they were first reached.</summary>
    private void Read(WorkFolder folder, string name, FitStage stage)
    {
        using var scope = NewDisposeScope();
        using var file = folder.Open(name);
        MakeFits(file);
        var state = new FitState.Reader(_session.Dtype, _session.Device, folder, file, name);
        for (var k = 0; k < _fits.Length; k++)
        {
            if (state.Has(k))
            {
                _fits[k]!.Exchange(state, stage);
            }
        }
    }

    private void MakeFits(SafetensorsFile file)
    {
        var missing = new SortedDictionary<(int First, int Count), List<int>>();
        for (var k = 0; k < _fits.Length; k++)
        {
            if (_fits[k] is null && file.Metadata.GetValueOrDefault(FirstKey(k)) is { } text && text.Split(' ') is [var first, var count])
            {
                var place = (int.Parse(first, CultureInfo.InvariantCulture), int.Parse(count, CultureInfo.InvariantCulture));
                if (!missing.TryGetValue(place, out var blocks))
                {
                    missing[place] = blocks = [];
                }

                blocks.Add(k);
            }
        }

        _session.Losses.Seed = _options.Seed;
        foreach (var (place, blocks) in missing)
        {
            foreach (var examples in _session.Batches(_whole.Range(place.First, place.Count), _labels))
            {
                using var scope = NewDisposeScope();
                using var batch = _session.Capture(examples, _labels);
                foreach (var k in blocks.Where(k => batch.Blocks[k] is not null))
                {
                    Fit(k, batch.Blocks[k]!);
                    _firsts[k] = place;
                }
            }
        }

        var unreached = missing
            .Values.SelectMany(blocks => blocks)
            .Where(k => _fits[k] is null)
            .Select(k => _session.BlockNames[k])
            .ToList();
        if (unreached.Count > 0)
        {
            throw new InfluenceException(
                $"{InfluenceException.List(unreached)} had gradients when a unit was done and has none now, for the same examples. Does "
                    + "the model draw random numbers (call model.eval()), or the loss?"
            );
        }
    }

    private static string FirstKey(int block) => string.Create(CultureInfo.InvariantCulture, $"block.{block}.first");
}
