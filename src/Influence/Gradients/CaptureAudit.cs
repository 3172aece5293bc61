using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Holds what the hooks capture against plain autograd on two examples, before anything is scored. It finds what a hook
/// cannot see: a weight used outside its layer, an activation overwritten in place, a layer called by forward(), a loss
/// that is random or mixes examples. What differs is taken by single-example autograd instead, or refused.
/// </summary>
internal sealed class CaptureAudit(GradientSession session)
{
    /// <summary>How many examples of the first batch the two are picked from.</summary>
    public const int Candidates = 32;

    private readonly List<Side> _sides = [];

    /// <summary>Audits the training loss, and the measurement on queries where there are any.</summary>
    public void Run(ExampleBatch train, ExampleBatch? queries)
    {
        // Without a measurement of its own the queries' loss is the training loss: only its shapes can differ.
        var ownMeasurement = session.Task.Measurement is not null;
        var inPlace = Add(train, LossKind.Training, compare: true);
        if (queries is not null)
        {
            inPlace |= Add(queries, LossKind.Measurement, ownMeasurement);
        }

        var called = _sides[0].Called;
        var chosen = session.Task.Layers.LastOnly ? LastLayer(called) : session.Selected;
        foreach (var side in _sides.Where(s => s.Compare))
        {
            side.References = [Reference(side.One, side.Kind, chosen), Reference(side.Other, side.Kind, chosen)];
            CheckReached(side);
        }

        var byRule = chosen.Where(p => session.LayersOf(p).Any()).ToList();
        var notes = new Dictionary<ModelParameter, string>();
        var single = new List<ModelParameter>();
        ToSingle(
            byRule.Where(p => p.Owner is TransformerEncoderLayer && !_sides.Any(s => session.LayersOf(p).Any(s.Called.Contains))
                && _sides.Any(s => s.References.Any(r => r.ContainsKey(p.Storage)))).ToList(),
            _ => "TorchSharp runs no hook where a TransformerEncoderLayer is called with a mask: a TransformerEncoder of one layer runs it");
        foreach (var side in _sides.Where(s => s.Compare))
        {
            CheckForward(byRule, side);
        }

        // A tied weight goes by rules only if every layer that holds it has one.
        ToSingle(chosen.Except(byRule).ToList(), p => session.BeyondRule.GetValueOrDefault(p.Owner, "tied to a parameter without a rule"));
        ToSingle(byRule.Where(p => session.LayersOf(p).Any(layer => layer.IsShared && !MeetsItsPositions(layer))).ToList(), _ => "its layer's input has no example axis");

        var mode = inPlace ? TapMode.Copy : TapMode.Share;
        var wrong = Differing(byRule, mode);
        if (wrong is null && byRule.Any(IsShared))
        {
            // Giving a shared layer's output an example axis does not suit every use of it.
            ToSingle(byRule.Where(IsShared).ToList(), _ => "its layer's input has no example axis");
            wrong = Differing(byRule, mode);
        }

        if (wrong is null or { Count: > 0 })
        {
            mode = TapMode.Copy;
            wrong = Differing(byRule, mode, rethrow: true);
        }

        ToSingle(wrong!, _ => "what its layer saw does not give its gradient: is the weight also used outside the layer?");

        // What the examples do not reach stays in: others may reach it.
        var idle = chosen.Where(p => _sides.All(s => s.References.All(r => !r.ContainsKey(p.Storage)))).ToHashSet();
        session.Configure(mode, byRule, single, Report(chosen, byRule, single, idle, notes));

        bool IsShared(ModelParameter parameter) => session.LayersOf(parameter).Any(layer => layer.IsShared);

        void ToSingle(IReadOnlyList<ModelParameter> parameters, Func<ModelParameter, string> why)
        {
            foreach (var parameter in WithTies(parameters, chosen).Where(p => !single.Contains(p)))
            {
                byRule.Remove(parameter);
                single.Add(parameter);
                notes[parameter] = why(parameter);
            }
        }
    }

    /// <summary>Picks two examples and checks their loss; returns whether the model writes to layers' inputs or outputs in place.</summary>
    private bool Add(ExampleBatch first, LossKind kind, bool compare)
    {
        using var noGrad = no_grad();
        var candidates = first.Pick([.. Enumerable.Range(0, Math.Min(first.Count, Candidates))]);
        var inPlace = session.WritesInPlace(candidates, kind, out var losses);

        // The largest losses: their gradients are far from rounding. One example serves twice.
        var order = Enumerable.Range(0, losses.Length).OrderByDescending(i => Math.Abs(losses[i])).Take(2).ToList();
        var pair = candidates.Pick(order.Count == 2 ? order : [0, 0]);
        var side = new Side(kind, compare, pair, pair.Pick([0]), pair.Pick([1]));
        CheckLoss(side, [losses[order[0]], losses[order[^1]]]);
        side.Called = FindLayouts(side);
        _sides.Add(side);
        return inPlace;
    }

    private void CheckLoss(Side side, double[] among)
    {
        var together = session.LossValues(side.Pair, side.Kind);
        var alone = new[] { session.LossValues(side.One, side.Kind)[0], session.LossValues(side.Other, side.Kind)[0] };
        var rounding = session.Dtype == ScalarType.Float64 ? 1e-12 : 1e-6;
        for (var i = 0; i < 2; i++)
        {
            var room = rounding + (2e-3 * Math.Abs(together[i]));
            if (Differ(alone[i], together[i]) || Differ(among[i], together[i]))
            {
                // Random or mixed? The same call again tells.
                var again = session.LossValues(side.Pair, side.Kind)[i];
                var name = side.Kind == LossKind.Training ? "TrainingLoss" : "Measurement";
                throw new InfluenceException(Differ(again, together[i])
                    ? $"{name} is random: the example with id {side.Pair.Ids[i]} gave {together[i]:G5} and then {again:G5}. Is dropout still on? Write model.eval() first."
                    : $"The model mixes the examples of a batch: the example with id {side.Pair.Ids[i]} has {name} {alone[i]:G5} alone, {together[i]:G5} beside another " +
                      $"and {among[i]:G5} among more. Per-example gradients then have no meaning. Look for statistics over the batch, or a mean inside the loss.");
            }

            bool Differ(double a, double b) => !(Math.Abs(a - b) <= room);
        }
    }

    /// <summary>Compares shapes for one and for two examples; returns the layers in the order of their calls.</summary>
    private List<TrackedLayer> FindLayouts(Side side)
    {
        session.WatchShapes(side.One, side.Kind);
        var single = session.Layers.ToDictionary(layer => layer, layer => layer.Shapes.ToList());
        var called = session.WatchShapes(side.Pair, side.Kind);
        foreach (var (layer, shapes) in single)
        {
            layer.Layouts[side.Kind] = [.. shapes.Zip(layer.Shapes, (a, b) => LayerLayout.Find(a, b) ?? LayerLayout.BatchFirst)];
            layer.SharedShapes.AddRange(shapes.Zip(layer.Shapes).Where(p => p.First.AsSpan().SequenceEqual(p.Second)).Select(p => p.First));
        }

        foreach (var layer in session.Layers)
        {
            side.Shapes.AddRange(layer.Shapes);
        }

        return called;
    }

    /// <summary>
    /// A table of positions, [T, D], is added to [B, T, D]: it can be given an example axis. A table of classes that is
    /// multiplied with cannot, and a wrong shape in a matmul ends the process on TorchSharp.
    /// </summary>
    private bool MeetsItsPositions(TrackedLayer layer) => layer.SharedShapes.All(shared =>
    {
        var positions = shared.Length > 1 && shared[0] == 1 ? shared[1] : shared[0];
        return _sides.All(side => side.Shapes.Any(s => s.Length >= 3 && s[0] == 2 && s[1] == positions && s[^1] == shared[^1]));
    });

    private IReadOnlyList<ModelParameter> LastLayer(List<TrackedLayer> called)
    {
        if (called.Count == 0)
        {
            throw new InfluenceException("LayerSelection.Last needs a layer with a rule that is run by call(...); none was.");
        }

        return [.. session.Selected.Where(called[^1].Holds)];
    }

    /// <summary>One example's gradients by plain autograd, flattened, by storage; unused parameters are absent.</summary>
    private Dictionary<(nint, long, long), Tensor> Reference(ExampleBatch example, LossKind kind, IReadOnlyList<ModelParameter> parameters, int? among = null)
    {
        using var scope = NewDisposeScope();
        var single = new SingleExampleGradients(parameters, session.Losses);
        var gradients = single.Of(example, kind, among);
        var found = new Dictionary<(nint, long, long), Tensor>();
        for (var k = 0; k < gradients.Count; k++)
        {
            if (gradients[k] is { } gradient)
            {
                found.Add(single.Parameters[k].Storage, gradient.detach().reshape(-1).MoveToOuterDisposeScope());
            }
        }

        return found;
    }

    private static void CheckReached(Side side)
    {
        if (side.References.All(r => r.Count == 0))
        {
            throw new InfluenceException(
                $"{(side.Kind == LossKind.Training ? "TrainingLoss" : "Measurement")} does not depend on any of the model's selected parameters. " +
                "Does the loss delegate use this model, detach its output, or run under no_grad()?");
        }
    }

    private void CheckForward(List<ModelParameter> byRule, Side side)
    {
        var tied = byRule.GroupBy(p => p.Storage).Where(g => g.Any(WasCalled)).Select(g => g.Key).ToHashSet();
        var unseen = byRule
            .Where(p => !WasCalled(p) && !tied.Contains(p.Storage) && side.References.Any(r => r.ContainsKey(p.Storage)))
            .SelectMany(session.LayersOf)
            .Select(layer => $"{layer.Path} ({layer.Rule.Name})")
            .Distinct()
            .ToList();
        if (unseen.Count > 0)
        {
            throw new InfluenceException(
                $"The loss depends on these layers, but they were not run by call(...), so nothing could be captured: {InfluenceException.List(unseen)}. " +
                "Write layer.call(x) instead of layer.forward(x) (and not functional.linear(x, layer.weight, ...)), or leave them out by Layers = LayerSelection.Where(...).");
        }

        bool WasCalled(ModelParameter parameter) => session.LayersOf(parameter).Any(side.Called.Contains);
    }

    /// <summary>The parameters whose captured gradient differs from autograd's; null where the loss cannot be run with the hooks.</summary>
    private List<ModelParameter>? Differing(List<ModelParameter> byRule, TapMode mode, bool rethrow = false)
    {
        session.Configure(mode, byRule, [], session.Coverage);
        var wrong = new HashSet<ModelParameter>();
        foreach (var side in _sides)
        {
            BatchGradients batch;
            try
            {
                batch = session.Capture(side.Pair, side.Kind);
            }
            catch (InfluenceException) when (!rethrow)
            {
                return null;
            }

            using var owned = batch;
            using var noGrad = no_grad();
            if (side.Compare)
            {
                wrong.UnionWith(Differing(side, batch));
            }
        }

        return [.. wrong];
    }

    private IEnumerable<ModelParameter> Differing(Side side, BatchGradients batch)
    {
        var total = side.References.Select(r => Math.Sqrt(r.Values.Sum(Square))).ToArray();
        var noise = new Dictionary<(nint, long, long), Tensor>?[2];
        for (var k = 0; k < session.Blocks.Count; k++)
        {
            var block = session.Blocks[k];
            var parts = batch.Blocks[k]?.Dense();
            for (var p = 0; p < block.Parts.Count; p++)
            {
                var part = block.Parts[p];

                // A layer that saw other rows than the two examples' is not told apart by example.
                if ((parts is not null && parts[p].shape[0] != 2) || Differs(0) || Differs(1))
                {
                    yield return part.Parameter;
                }

                bool Differs(int i)
                {
                    var expected = Expected(side.References[i]);
                    var error = Error(parts?[p].select(0, i), expected);
                    var scale = Math.Max(expected is null ? 0 : Math.Sqrt(Square(expected)), 1e-3 * total[i]);
                    if (error <= (session.Dtype == ScalarType.Float64 ? 1e-6 : 1e-2) * scale)
                    {
                        return false;
                    }

                    // The loss's own rounding, as where softmax cancels: how much autograd's gradient moves when the
                    // example stands beside another.
                    noise[i] ??= Reference(side.Pair, side.Kind, session.Selected.Prepend(part.Parameter).ToList(), among: i);
                    return !(error <= Math.Min(4 * Error(Expected(noise[i]!), expected), 0.5 * scale));
                }

                Tensor? Expected(Dictionary<(nint, long, long), Tensor> by) =>
                    by.GetValueOrDefault(part.Parameter.Storage) is { } flat ? part.Of(flat) : null;
            }

            batch.Blocks[k]?.Release();
        }
    }

    private static double Error(Tensor? captured, Tensor? expected) => (captured, expected) switch
    {
        (null, null) => 0,
        (not null, null) => Math.Sqrt(Square(captured)),
        (null, not null) => Math.Sqrt(Square(expected)),
        (not null, not null) => captured.numel() == expected.numel() ? Math.Sqrt(Square(captured - expected)) : double.PositiveInfinity,
    };

    private static double Square(Tensor tensor) => tensor.cpu().to_type(ScalarType.Float64).square().sum().item<double>();

    private static List<ModelParameter> WithTies(IEnumerable<ModelParameter> parameters, IReadOnlyList<ModelParameter> all)
    {
        var storages = parameters.Select(p => p.Storage).ToHashSet();
        return [.. all.Where(p => storages.Contains(p.Storage))];
    }

    private ParameterCoverage Report(
        IReadOnlyList<ModelParameter> chosen,
        List<ModelParameter> byRule,
        List<ModelParameter> single,
        HashSet<ModelParameter> idle,
        Dictionary<ModelParameter, string> notes)
    {
        return new ParameterCoverage([.. session.Trainable.GroupBy(p => p.Storage).Select(Row)]);

        ParameterCoverage.Covered Row(IGrouping<(nint, long, long), ModelParameter> tied)
        {
            var name = string.Join(" = ", tied.Select(p => p.Name));
            var first = tied.First();
            var rules = tied.Where(byRule.Contains).SelectMany(session.LayersOf).Select(layer => layer.Rule.Name).Distinct().ToList();
            var note = tied.All(idle.Contains) ? "the loss of the first examples does not depend on it" : string.Empty;
            return !tied.Any(chosen.Contains) ? new ParameterCoverage.Covered(name, first.Count, ParameterCoverage.LeftOut)
                : tied.Any(single.Contains) ? new ParameterCoverage.Covered(
                    name, first.Count, ParameterCoverage.SingleExamples, note.Length > 0 ? $"{notes[tied.First(single.Contains)]}; {note}" : notes[tied.First(single.Contains)])
                : new ParameterCoverage.Covered(name, first.Count, string.Join(" + ", rules), note);
        }
    }

    /// <summary>Two examples under one of the task's delegates, and what plain autograd says of each alone.</summary>
    private sealed record Side(LossKind Kind, bool Compare, ExampleBatch Pair, ExampleBatch One, ExampleBatch Other)
    {
        public List<TrackedLayer> Called { get; set; } = [];

        public List<long[]> Shapes { get; } = [];

        public Dictionary<(nint, long, long), Tensor>[] References { get; set; } = [];
    }
}
