using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Holds what the hooks capture against plain autograd on two examples in both orders, and the rows of more of them against the
/// examples' own, before anything is scored. It finds what a hook cannot see: a weight used outside its layer, an activation
/// overwritten in place, a layer called by forward(), rows in another order, a loss that is random or mixes examples. What differs is
/// taken by single-example autograd instead, or refused.
/// </summary>
internal sealed class CaptureAudit
{
    /// <summary>How many examples of the first batch the two are picked from.</summary>
    public const int Candidates = 32;

    /// <summary>How many numbers are compared at once.</summary>
    private const long NumbersAtOnce = 1 << 17;

    private const string OutsideItsLayer = "what its layer saw does not give its gradient: is the weight also used outside the layer?";

    private readonly LayerHooks _hooks;
    private readonly List<Side> _sides = [];
    private readonly List<ModelParameter> _byRule = [];
    private readonly List<ModelParameter> _single = [];
    private readonly Dictionary<ModelParameter, string> _notes = [];
    private IReadOnlyList<ModelParameter> _chosen = [];

    private CaptureAudit(LayerHooks hooks) => _hooks = hooks;

    /// <summary>Audits the training loss, and the measurement on queries where there are any.</summary>
    /// <param name="hooks">The hooks.</param>
    /// <param name="train">A batch of training examples.</param>
    /// <param name="queries">A batch of queries.</param>
    /// <param name="elsewhere">Training examples from anywhere in the data, where they can be had.</param>
    public static CapturePlan Run(LayerHooks hooks, ExampleBatch train, ExampleBatch? queries, ExampleBatch? elsewhere)
    {
        using var scope = NewDisposeScope();
        return new CaptureAudit(hooks).Run(train, queries, elsewhere);
    }

    private CapturePlan Run(ExampleBatch train, ExampleBatch? queries, ExampleBatch? elsewhere)
    {
        // Without a measurement of its own the queries' loss is the training loss: only its shapes can differ.
        var ownMeasurement = _hooks.Task.Measurement is not null;
        var inPlace = Add(train, LossKind.Training, compare: true);
        if (queries is not null)
        {
            inPlace |= Add(queries, LossKind.Measurement, ownMeasurement);
        }

        _chosen = Members(_hooks.Task.Layers);
        for (var k = 0; k < _sides.Count; k++)
        {
            if (!_sides[k].Compare)
            {
                continue;
            }

            Refer(_sides[k]);
            if (!_sides[k].IsReached)
            {
                _sides[k] = Reached(_sides[k], elsewhere);
            }
        }

        _byRule.AddRange(_chosen.Where(p => _hooks.LayersOf(p).Any()));
        ToSingle(
            _byRule
                .Where(p =>
                    WithoutHook(p.Owner) is not null
                    && !_sides.Any(s => _hooks.LayersOf(p).Any(s.Called.Contains))
                    && _sides.Any(s => s.References.Any(r => r.ContainsKey(p.Storage)))
                )
                .ToList(),
            p => WithoutHook(p.Owner)!
        );
        foreach (var side in _sides.Where(s => s.Compare))
        {
            CheckForward(side);
        }

        // A tied weight goes by rules only if every layer that holds it has one.
        ToSingle(_chosen.Except(_byRule).ToList(), p => _hooks.BeyondRule.GetValueOrDefault(p.Owner, "tied to a parameter without a rule"));
        if (_hooks.Task.SingleExamples is { } asked)
        {
            ToSingle(Members(asked).Where(_byRule.Contains).ToList(), _ => "asked for by InfluenceTask.SingleExamples");
        }

        ToSingle(
            _byRule.Where(p => _hooks.LayersOf(p).Any(layer => layer.IsShared && !MeetsItsPositions(layer))).ToList(),
            _ => "its layer's input has no example axis"
        );

        var mode = inPlace ? TapMode.Copy : TapMode.Share;
        var wrong = TryDiffering(mode);
        if (wrong is null && _byRule.Any(IsShared))
        {
            // Giving a shared layer's output an example axis does not suit every use of it.
            ToSingle(_byRule.Where(IsShared).ToList(), _ => "its layer's input has no example axis");
            wrong = TryDiffering(mode);
        }

        if (wrong is null or { Count: > 0 })
        {
            mode = TapMode.Copy;
            wrong = Differing(mode);
        }

        ToSingle(wrong!, _ => OutsideItsLayer);
        mode = CheckMore(mode, elsewhere);

        // What the examples do not reach stays in: others may reach it.
        var idle = _chosen.Where(p => _sides.All(s => s.References.All(r => !r.ContainsKey(p.Storage)))).ToHashSet();
        return Plan(mode, Report(idle));

        bool IsShared(ModelParameter parameter) => _hooks.LayersOf(parameter).Any(layer => layer.IsShared);
    }

    /// <summary>Why a module that the loss depends on may not have been seen though it was run as it should be; null where there is no such
    /// way.</summary>
    private static string? WithoutHook(object? module) =>
        module switch
        {
            TransformerEncoderLayer =>
                "TorchSharp runs no hook where a TransformerEncoderLayer is called with a mask: a TransformerEncoder "
                    + "of one layer runs it",
            ConvolutionTranspose =>
                "TorchSharp runs no hook where a transposed convolution is given an output size: output_padding does the "
                    + "same and is seen",
            EmbeddingBag => "no rule for bags by offsets or with weights of single tokens: bags that are rows of one tensor have one",
            _ => null,
        };

    private CapturePlan Plan(TapMode mode, ParameterCoverage coverage) =>
        new(_hooks.Layers, mode, _byRule, _single, coverage, _hooks.Apart);

    private void ToSingle(IReadOnlyList<ModelParameter> parameters, Func<ModelParameter, string> why)
    {
        foreach (var parameter in WithTies(parameters, _chosen).Where(p => !_single.Contains(p)))
        {
            _byRule.Remove(parameter);
            _single.Add(parameter);
            _notes[parameter] = why(parameter);
        }
    }

    /// <summary>Many examples at once show what two do not: rows that are sorted, paths that few take, chunks. Returns the mode that they
    /// want.</summary>
    private TapMode CheckMore(TapMode mode, ExampleBatch? elsewhere)
    {
        List<(ExampleBatch Batch, LossKind Kind)> batches = [.. _sides.Select(side => (side.Candidates, side.Kind))];
        if (elsewhere is not null)
        {
            batches.Add((elsewhere, LossKind.Training));
        }

        foreach (var (batch, kind) in batches)
        {
            // Each round takes some parameters off the rules, until the rest agrees.
            for (var before = int.MaxValue; _byRule.Count > 0 && _byRule.Count < before; )
            {
                using var scope = NewDisposeScope();
                before = _byRule.Count;
                if (_hooks.Run(scope, Plan(mode, new ParameterCoverage([])), batch, kind, [], GraphAfter.Kept) is not { } trace)
                {
                    (mode, before) = (TapMode.Copy, int.MaxValue);
                    continue;
                }

                var chunks = trace.WithOtherRows(batch.Count);
                var foreign = trace.WithForeignRows(batch, seed: 0);
                if (foreign.Count > 0)
                {
                    LoneLosses.Check(_hooks, batch, kind, LayerHooks.Values(trace.Losses), Math.Min(batch.Count, LoneLosses.Most));
                }

                ToSingle([.. trace.UsedElsewhere], _ => OutsideItsLayer);
                ToSingle(HeldBy(chunks), _ => "its layer does not see the same number of rows of each example of a batch");
                ToSingle(HeldBy(foreign), _ => "its layer sees rows in another order than the batch's examples");
            }
        }

        return mode;

        List<ModelParameter> HeldBy(List<TrackedLayer> layers) => [.. _byRule.Where(p => layers.Any(layer => layer.Holds(p)))];
    }

    /// <summary>Picks two examples and checks their loss; returns whether the model writes to layers' inputs or outputs in place.</summary>
    private bool Add(ExampleBatch first, LossKind kind, bool compare)
    {
        using var noGrad = no_grad();
        var candidates = first.Pick([.. Enumerable.Range(0, Math.Min(first.Count, Candidates))]);
        var inPlace = _hooks.WritesInPlace(candidates, kind, out var losses);

        // The largest losses: their gradients are far from rounding. Equal examples would hide an exchange; one alone serves twice.
        int[] order = [.. Enumerable.Range(0, losses.Length).OrderByDescending(i => Math.Abs(losses[i]))];
        _sides.Add(SideOf(kind, compare, candidates, candidates, order, losses));
        return inPlace;
    }

    /// <summary>A side with the first example of an order over a batch, and the next that is not equal to it.</summary>
    private Side SideOf(LossKind kind, bool compare, ExampleBatch candidates, ExampleBatch batch, int[] order, double[] losses)
    {
        var first = order[0];
        var second = order.Skip(1).Where(i => !batch.AreEqual(first, i)).Append(order.Length > 1 ? order[1] : first).First();
        var pair = batch.Pick([first, second]);
        var side = new Side(kind, compare, candidates, pair, pair.Pick([1, 0]), pair.Pick([0]), pair.Pick([1]));
        CheckLoss(side, [losses[first], losses[second]]);
        side.Called = FindLayouts(side);
        return side;
    }

    /// <summary>Takes the gradients of the two examples.</summary>
    private void Refer(Side side) => side.References = [Reference(side.One, side.Kind, _chosen), Reference(side.Other, side.Kind, _chosen)];

    /// <summary>The side with two other examples, of which one depends on what was chosen, as where few are routed to an expert.</summary>
    private Side Reached(Side side, ExampleBatch? elsewhere)
    {
        List<ExampleBatch> batches = [side.Candidates];
        if (side.Kind == LossKind.Training && elsewhere is not null)
        {
            batches.Add(elsewhere);
        }

        foreach (var batch in batches)
        {
            for (var i = 0; i < batch.Count; i++)
            {
                if (Reference(batch.Pick([i]), side.Kind, _chosen).Count == 0)
                {
                    continue;
                }

                int[] order = [i, .. Enumerable.Range(0, batch.Count).Where(j => j != i)];
                var found = SideOf(side.Kind, side.Compare, side.Candidates, batch, order, _hooks.LossValues(batch, side.Kind));
                Refer(found);
                return found;
            }
        }

        throw new InfluenceException(
            $"{(side.Kind == LossKind.Training ? "TrainingLoss" : "Measurement")} does not depend on any of the model's selected "
                + $"parameters for any of the {batches.Sum(b => b.Count)} examples looked at. Does the loss delegate use this model, "
                + "detach its output, or run under no_grad()?"
        );
    }

    private void CheckLoss(Side side, double[] among)
    {
        var together = _hooks.LossValues(side.Pair, side.Kind);
        var exchanged = _hooks.LossValues(side.Exchanged, side.Kind);
        var alone = new[] { _hooks.LossValues(side.One, side.Kind)[0], _hooks.LossValues(side.Other, side.Kind)[0] };
        for (var i = 0; i < 2; i++)
        {
            if (Differ(alone[i]) || Differ(among[i]) || Differ(exchanged[1 - i]))
            {
                // Random or mixed? The same call again tells.
                var again = _hooks.LossValues(side.Pair, side.Kind)[i];
                var name = side.Kind == LossKind.Training ? "TrainingLoss" : "Measurement";
                throw new InfluenceException(
                    Differ(again)
                        ? $"{name} is random: the example with id {side.Pair.Ids[i]} gave {together[i]:G5} and then {again:G5}. Is dropout "
                            + "still on? Write model.eval() first."
                        : $"The model mixes the examples of a batch: the example with id {side.Pair.Ids[i]} has {name} {alone[i]:G5} "
                            + $"alone, {together[i]:G5} beside another, {exchanged[1 - i]:G5} in the other order and {among[i]:G5} "
                            + "among more. Per-example gradients then have no meaning. Look for statistics over the batch, or a mean "
                            + "inside the loss."
                );
            }

            bool Differ(double value) => LoneLosses.Differ(value, together[i], _hooks.ModelDtype);
        }
    }

    /// <summary>Compares shapes for one and for two examples; returns the layers in the order of their calls.</summary>
    private List<TrackedLayer> FindLayouts(Side side)
    {
        _hooks.WatchShapes(side.One, side.Kind);
        var single = _hooks.Layers.ToDictionary(layer => layer, layer => layer.Shapes.ToList());
        var called = _hooks.WatchShapes(side.Pair, side.Kind);
        foreach (var (layer, shapes) in single)
        {
            layer.Layouts[side.Kind] = [.. shapes.Zip(layer.Shapes, (a, b) => LayerLayout.Find(a, b) ?? LayerLayout.BatchFirst)];
            long[][] shared = [.. shapes.Zip(layer.Shapes).Where(p => p.First.AsSpan().SequenceEqual(p.Second)).Select(p => p.First)];
            layer.SharedShapes.AddRange(shared);
            side.SharedShapes.AddRange(shared.Select(shape => (layer, shape)));
        }

        foreach (var layer in _hooks.Layers)
        {
            side.Shapes.AddRange(layer.Shapes);
        }

        return called;
    }

    /// <summary>
    /// A table of positions, [T, D], is added to [B, T, D]: it can be given an example axis. A table of classes that is
    /// multiplied with cannot, and a wrong shape in a matmul ends the process on TorchSharp.
    /// </summary>
    private bool MeetsItsPositions(TrackedLayer layer) =>
        _sides.All(side =>
            side.SharedShapes.Where(of => of.Layer == layer)
                .All(of =>
                {
                    // Queries are of other lengths than training examples: each side is held against its own.
                    var positions = of.Shape.Length > 1 && of.Shape[0] == 1 ? of.Shape[1] : of.Shape[0];
                    return side.Shapes.Any(s => s.Length >= 3 && s[0] == 2 && s[1] == positions && s[^1] == of.Shape[^1]);
                })
        );

    /// <summary>The parameters of a selection, for which the model may have to be run.</summary>
    private IReadOnlyList<ModelParameter> Members(LayerSelection selection) =>
        selection.Role switch
        {
            LayerRole.Last => LastLayer(_sides[0].Called),
            LayerRole.Attention or LayerRole.Mlp => LayerRoles.Members(_hooks, _sides[0].One, selection),
            _ => [.. _hooks.Selected.Where(_hooks.Includes(selection))],
        };

    private IReadOnlyList<ModelParameter> LastLayer(List<TrackedLayer> called)
    {
        if (called.Count == 0)
        {
            throw new InfluenceException("LayerSelection.Last needs a layer with a rule that is run by call(...); none was.");
        }

        return [.. _hooks.Selected.Where(called[^1].Holds)];
    }

    /// <summary>One example's gradients by plain autograd, flattened, by storage; unused parameters are absent.</summary>
    private Dictionary<TensorIdentity, Tensor> Reference(
        ExampleBatch example,
        LossKind kind,
        IReadOnlyList<ModelParameter> parameters,
        int? among = null
    )
    {
        using var scope = NewDisposeScope();
        var single = new SingleExampleGradients(parameters, _hooks.Losses);
        var gradients = single.Of(example, kind, among);
        var found = new Dictionary<TensorIdentity, Tensor>();
        for (var k = 0; k < gradients.Count; k++)
        {
            if (gradients[k] is { } gradient)
            {
                found.Add(single.Parameters[k].Storage, HalfPrecision.Wide(gradient.detach().reshape(-1)).MoveToOuterDisposeScope());
            }
        }

        return found;
    }

    private void CheckForward(Side side)
    {
        var tied = _byRule.GroupBy(p => p.Storage).Where(g => g.Any(WasCalled)).Select(g => g.Key).ToHashSet();
        var unseen = _byRule
            .Where(p => !WasCalled(p) && !tied.Contains(p.Storage) && side.References.Any(r => r.ContainsKey(p.Storage)))
            .SelectMany(_hooks.LayersOf)
            .Select(layer => $"{layer.Path} ({layer.Rule.Name})")
            .Distinct()
            .ToList();
        if (unseen.Count > 0)
        {
            throw new InfluenceException(
                "The loss depends on these layers, but they were not run by call(...), so nothing could be captured: "
                    + $"{InfluenceException.List(unseen)}. Write layer.call(x) instead of layer.forward(x) (and not functional.linear(x, "
                    + "layer.weight, ...)), or leave them out by Layers = LayerSelection.Where(...)."
            );
        }

        bool WasCalled(ModelParameter parameter) => _hooks.LayersOf(parameter).Any(side.Called.Contains);
    }

    /// <summary>As <see cref="Differing(TapMode)"/>; null where the loss cannot be run with hooks that keep what they see so.</summary>
    private List<ModelParameter>? TryDiffering(TapMode mode)
    {
        try
        {
            return Differing(mode);
        }
        catch (InfluenceException)
        {
            return null;
        }
    }

    /// <summary>The parameters whose captured gradient differs from autograd's; null where something writes in place to what is
    /// shared.</summary>
    private List<ModelParameter>? Differing(TapMode mode)
    {
        var plan = Plan(mode, new ParameterCoverage([]));
        var wrong = new HashSet<ModelParameter>();
        foreach (var side in _sides)
        {
            Dictionary<TensorIdentity, Tensor>[] exchanged = [.. Enumerable.Reverse(side.References)];
            foreach (var (pair, references) in new[] { (side.Pair, side.References), (side.Exchanged, exchanged) })
            {
                using var scope = NewDisposeScope();
                if (_hooks.Run(scope, plan, pair, side.Kind, [], GraphAfter.Freed) is not { } trace)
                {
                    return null;
                }

                using var noGrad = no_grad();
                if (side.Compare)
                {
                    wrong.UnionWith(Differing(plan, trace, pair, side.Kind, references));
                }
            }
        }

        return [.. wrong];
    }

    private List<ModelParameter> Differing(
        CapturePlan plan,
        CaptureTrace trace,
        ExampleBatch pair,
        LossKind kind,
        Dictionary<TensorIdentity, Tensor>[] references
    )
    {
        var found = new List<ModelParameter>();
        var total = references.Select(r => Math.Sqrt(r.Values.Sum(value => Square(value)))).ToArray();
        var noise = new Dictionary<TensorIdentity, Tensor>?[2];
        var calls = trace.Calls(plan.Layers, mask: null);
        foreach (var block in plan.Blocks)
        {
            var gradients = block.Gradients(calls);
            var parts = gradients?.Dense();
            for (var p = 0; p < block.Parts.Count; p++)
            {
                var part = block.Parts[p];

                // A layer that saw other rows than the two examples' is not told apart by example.
                if ((parts is not null && parts[p].shape[0] != 2) || Differs(0) || Differs(1))
                {
                    found.Add(part.Parameter);
                }

                bool Differs(int i)
                {
                    var expected = Expected(references[i]);
                    var error = Error(parts?[p].select(0, i), expected);
                    var (allowed, least) = (HalfPrecision.Room(_hooks.ModelDtype, 1e-2, 1e-6), 1e-3 * total[i]);
                    if (error <= allowed * least)
                    {
                        return false;
                    }

                    var scale = Math.Max(expected is null ? 0 : Math.Sqrt(Square(expected)), least);
                    if (error <= allowed * scale)
                    {
                        return false;
                    }

                    // The loss's own rounding, as where softmax cancels: how much autograd's gradient moves when the
                    // example stands beside another.
                    noise[i] ??= Reference(pair, kind, _hooks.Selected.Prepend(part.Parameter).ToList(), among: i);
                    return !(error <= Math.Min(4 * Error(Expected(noise[i]!), expected), 0.5 * scale));
                }

                Tensor? Expected(Dictionary<TensorIdentity, Tensor> by) =>
                    by.GetValueOrDefault(part.Parameter.Storage) is { } flat ? part.Of(flat) : null;
            }

            gradients?.Release();
        }

        return found;
    }

    private static double Error(Tensor? captured, Tensor? expected) =>
        (captured, expected) switch
        {
            (null, null) => 0,
            (not null, null) => Math.Sqrt(Square(captured)),
            (null, not null) => Math.Sqrt(Square(expected)),
            (not null, not null) => captured.numel() == expected.numel() ? Math.Sqrt(Square(captured, expected)) : double.PositiveInfinity,
        };

    /// <summary>The squared norm of a tensor, or of what another is to be taken from; piece by piece, so that a table of millions of
    /// numbers is not copied whole.</summary>
    private static double Square(Tensor tensor, Tensor? other = null)
    {
        using var outer = NewDisposeScope();
        var (flat, less, sum) = (tensor.reshape(-1), other?.reshape(-1), 0.0);
        for (long start = 0; start < flat.shape[0]; start += NumbersAtOnce)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(NumbersAtOnce, flat.shape[0] - start);
            var piece = flat.narrow(0, start, count);
            sum += (less is null ? piece : piece - less.narrow(0, start, count))
                .cpu()
                .to_type(ScalarType.Float64)
                .Squared()
                .sum()
                .item<double>();
        }

        return sum;
    }

    private static List<ModelParameter> WithTies(IEnumerable<ModelParameter> parameters, IReadOnlyList<ModelParameter> all)
    {
        var storages = parameters.Select(p => p.Storage).ToHashSet();
        return [.. all.Where(p => storages.Contains(p.Storage))];
    }

    private ParameterCoverage Report(HashSet<ModelParameter> idle)
    {
        return new ParameterCoverage([.. _hooks.Trainable.GroupBy(p => p.Storage).Select(Row)]);

        ParameterCoverage.Row Row(IGrouping<TensorIdentity, ModelParameter> tied)
        {
            var name = ParameterCoverage.NameOf(tied.Select(p => p.Name));
            var first = tied.First();
            var rules = tied.Where(_byRule.Contains).SelectMany(_hooks.LayersOf).Select(layer => layer.Rule.Name).Distinct().ToList();
            var note = tied.All(idle.Contains) ? "the loss of the first examples does not depend on it" : string.Empty;
            return !tied.Any(_chosen.Contains) ? new ParameterCoverage.Row(name, first.Count, ParameterCoverage.LeftOut)
                : tied.Any(_single.Contains)
                    ? new ParameterCoverage.Row(
                        name,
                        first.Count,
                        ParameterCoverage.SingleExamples,
                        note.Length > 0 ? $"{_notes[tied.First(_single.Contains)]}; {note}" : _notes[tied.First(_single.Contains)]
                    )
                : new ParameterCoverage.Row(name, first.Count, string.Join(" + ", rules), note);
        }
    }

    /// <summary>Examples under one of the task's delegates: a pair of them in both orders, and what plain autograd says of each
    /// alone.</summary>
    private sealed record Side(
        LossKind Kind,
        bool Compare,
        ExampleBatch Candidates,
        ExampleBatch Pair,
        ExampleBatch Exchanged,
        ExampleBatch One,
        ExampleBatch Other
    )
    {
        public List<TrackedLayer> Called { get; set; } = [];

        public List<long[]> Shapes { get; } = [];

        public List<(TrackedLayer Layer, long[] Shape)> SharedShapes { get; } = [];

        public Dictionary<TensorIdentity, Tensor>[] References { get; set; } = [];

        /// <summary>Whether either example depends on anything that was chosen.</summary>
        public bool IsReached => References.Any(r => r.Count > 0);
    }
}
