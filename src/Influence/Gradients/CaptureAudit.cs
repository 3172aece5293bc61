using TorchSharp;
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

    public void Run(ExampleBatch first)
    {
        var pair = PickPair(first, out var loss);
        var (one, other) = (pair.Pick([0]), pair.Pick([1]));
        CheckLoss(pair, one, other);

        var called = FindLayouts(one, pair);
        var chosen = session.Task.Layers.LastOnly ? LastLayer(called) : session.Selected;
        var reference = new[] { Reference(one, chosen), Reference(other, chosen) };
        if (reference.All(r => r.Count == 0))
        {
            throw new InfluenceException(
                "TrainingLoss does not depend on any of the model's selected parameters. Does the loss delegate use this model, detach its output, or run under no_grad()?");
        }

        var byRule = chosen.Where(p => session.Layers.TryGetValue(p.Owner, out var layer) && layer.Rule.Covers(p.LocalName)).ToList();
        CheckForward(byRule, called, reference);

        // A tied weight goes by rules only if every layer that holds it has one.
        var single = WithTies(chosen.Except(byRule), chosen);
        byRule = [.. byRule.Except(single)];
        var notes = single.ToDictionary(p => p, p => session.BeyondRule.GetValueOrDefault(p.Owner, "tied to a parameter without a rule"));

        // The loss's own rounding: softmax cross-entropy in float32 loses what is below 1e-7 of 1.
        var tolerance = session.Dtype == ScalarType.Float64 ? 1e-6 + (1e-14 / Math.Max(loss, 1e-14)) : 1e-2 + (3e-6 / Math.Max(loss, 1e-9));
        var mode = TapMode.Share;
        var wrong = Differing(pair, byRule, mode, reference, tolerance);
        if (wrong.Count > 0)
        {
            mode = TapMode.Copy;
            wrong = Differing(pair, byRule, mode, reference, tolerance);
        }

        foreach (var parameter in WithTies(wrong, chosen))
        {
            byRule.Remove(parameter);
            single.Add(parameter);
            notes[parameter] = "what its layer saw does not give its gradient: is the weight also used outside the layer?";
        }

        // What the two examples do not reach stays in: others may reach it.
        var idle = chosen.Where(p => reference.All(r => !r.ContainsKey(p.Storage))).ToHashSet();
        session.Configure(mode, byRule, single, Report(chosen, byRule, single, idle, notes));
    }

    /// <summary>The two examples with the largest losses: their gradients are far from rounding. One example serves twice.</summary>
    private ExampleBatch PickPair(ExampleBatch first, out double loss)
    {
        using var noGrad = no_grad();
        var candidates = first.Pick([.. Enumerable.Range(0, Math.Min(first.Count, Candidates))]);
        var losses = session.Losses.Evaluate(candidates, LossKind.Training).to_type(ScalarType.Float64).cpu().data<double>().ToArray();
        var order = Enumerable.Range(0, losses.Length).OrderByDescending(i => Math.Abs(losses[i])).Take(2).ToList();
        loss = Math.Abs(losses[order[^1]]);
        return candidates.Pick(order.Count == 2 ? order : [0, 0]);
    }

    private void CheckLoss(ExampleBatch pair, ExampleBatch one, ExampleBatch other)
    {
        using var noGrad = no_grad();
        var together = Values(pair);
        var again = Values(pair);
        var alone = new[] { Values(one)[0], Values(other)[0] };
        for (var i = 0; i < 2; i++)
        {
            var room = 1e-5 + (2e-3 * Math.Abs(together[i]));
            if (Math.Abs(together[i] - again[i]) > room)
            {
                throw new InfluenceException(
                    $"TrainingLoss is random: the example with id {pair.Ids[i]} gave {together[i]:G5} and then {again[i]:G5}. Is dropout still on? Write model.eval() first.");
            }

            if (Math.Abs(together[i] - alone[i]) > room)
            {
                throw new InfluenceException(
                    $"The model mixes the examples of a batch: the example with id {pair.Ids[i]} has loss {alone[i]:G5} alone and {together[i]:G5} beside another. " +
                    "Per-example gradients then have no meaning. Look for statistics over the batch, or a mean inside the loss.");
            }
        }

        double[] Values(ExampleBatch batch) =>
            session.Losses.Evaluate(batch, LossKind.Training).to_type(ScalarType.Float64).cpu().data<double>().ToArray();
    }

    /// <summary>Compares shapes for one and for two examples; returns the layers in the order of their calls.</summary>
    private List<TrackedLayer> FindLayouts(ExampleBatch one, ExampleBatch two)
    {
        session.WatchShapes(one);
        var single = session.Layers.Values.ToDictionary(layer => layer, layer => layer.Shapes.ToList());
        var called = session.WatchShapes(two);
        foreach (var (layer, shapes) in single)
        {
            layer.Layouts = [.. shapes.Zip(layer.Shapes, (a, b) => LayerLayout.Find(a, b) ?? LayerLayout.BatchFirst)];
        }

        return called;
    }

    private IReadOnlyList<ModelParameter> LastLayer(List<TrackedLayer> called)
    {
        if (called.Count == 0)
        {
            throw new InfluenceException("LayerSelection.Last needs a layer with a rule that is run by call(...); none was.");
        }

        return [.. session.Selected.Where(p => ReferenceEquals(p.Owner, called[^1].Module))];
    }

    /// <summary>One example's gradients by plain autograd, flattened, by storage; unused parameters are absent.</summary>
    private Dictionary<(nint, long, long), Tensor> Reference(ExampleBatch example, IReadOnlyList<ModelParameter> parameters)
    {
        var single = new SingleExampleGradients(parameters, session.Losses);
        var gradients = single.Of(example, LossKind.Training);
        var found = new Dictionary<(nint, long, long), Tensor>();
        for (var k = 0; k < gradients.Count; k++)
        {
            if (gradients[k] is { } gradient)
            {
                found.Add(single.Parameters[k].Storage, gradient.detach().reshape(-1));
            }
        }

        return found;
    }

    private void CheckForward(List<ModelParameter> byRule, List<TrackedLayer> called, Dictionary<(nint, long, long), Tensor>[] reference)
    {
        var tied = byRule.GroupBy(p => p.Storage).Where(g => g.Any(p => called.Contains(session.Layers[p.Owner]))).Select(g => g.Key).ToHashSet();
        var unseen = byRule
            .Where(p => !called.Contains(session.Layers[p.Owner]) && !tied.Contains(p.Storage) && reference.Any(r => r.ContainsKey(p.Storage)))
            .Select(p => $"{p.Path} ({session.Layers[p.Owner].Rule.Name})")
            .Distinct()
            .ToList();
        if (unseen.Count > 0)
        {
            throw new InfluenceException(
                $"The loss depends on these layers, but they were not run by call(...), so nothing could be captured: {InfluenceException.List(unseen)}. " +
                "Write layer.call(x) instead of layer.forward(x) (and not functional.linear(x, layer.weight, ...)), or leave them out by Layers = LayerSelection.Where(...).");
        }
    }

    /// <summary>The parameters of every block whose captured gradient differs from autograd's.</summary>
    private List<ModelParameter> Differing(
        ExampleBatch pair, List<ModelParameter> byRule, TapMode mode, Dictionary<(nint, long, long), Tensor>[] reference, double tolerance)
    {
        session.Configure(mode, byRule, [], session.Coverage);
        BatchGradients batch;
        try
        {
            batch = session.Capture(pair, LossKind.Training);
        }
        catch (InfluenceException) when (mode == TapMode.Share)
        {
            // An in-place operation on a tapped leaf is refused by autograd; copies allow it.
            return byRule;
        }

        using var owned = batch;
        using var noGrad = no_grad();
        var total = reference.Select(r => Math.Sqrt(r.Values.Sum(g => Square(g)))).ToArray();
        var wrong = new List<ModelParameter>();
        for (var k = 0; k < session.Blocks.Count; k++)
        {
            var block = session.Blocks[k];
            var parts = batch.Blocks[k]?.Dense();
            for (var p = 0; p < block.Parameters.Count; p++)
            {
                // A layer that saw other rows than the two examples' is not told apart by example.
                var differs = (parts is not null && parts[p].shape[0] != 2) || Enumerable.Range(0, 2).Any(i =>
                {
                    reference[i].TryGetValue(block.Parameters[p].Storage, out var expected);
                    var captured = parts?[p].select(0, i);
                    var error = (expected, captured) switch
                    {
                        (null, null) => 0,
                        (null, not null) => Square(captured),
                        (not null, null) => Square(expected),
                        (not null, not null) => captured.numel() == expected.numel() ? Square(captured - expected) : double.PositiveInfinity,
                    };
                    var scale = Math.Max(expected is null ? 0 : Math.Sqrt(Square(expected)), 1e-3 * total[i]);
                    return !(Math.Sqrt(error) <= tolerance * scale);
                });
                if (differs)
                {
                    wrong.Add(block.Parameters[p]);
                }
            }

            batch.Blocks[k]?.ReleaseDense();
        }

        return wrong;

        static double Square(Tensor tensor) => tensor.to_type(ScalarType.Float64).square().sum().item<double>();
    }

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

        CoveredParameter Row(IGrouping<(nint, long, long), ModelParameter> tied)
        {
            var name = string.Join(" = ", tied.Select(p => p.Name));
            var first = tied.First();
            var rules = tied.Where(byRule.Contains).Select(p => session.Layers[p.Owner].Rule.Name).Distinct().ToList();
            var note = tied.All(idle.Contains) ? "the loss of the first examples does not depend on it" : string.Empty;
            return !tied.Any(chosen.Contains) ? new CoveredParameter(name, first.Count, ParameterCoverage.LeftOut)
                : tied.Any(single.Contains) ? new CoveredParameter(
                    name, first.Count, ParameterCoverage.SingleExamples, note.Length > 0 ? $"{notes[tied.First(single.Contains)]}; {note}" : notes[tied.First(single.Contains)])
                : new CoveredParameter(name, first.Count, string.Join(" + ", rules), note);
        }
    }
}
