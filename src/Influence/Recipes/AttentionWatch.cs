using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Recipes;

/// <summary>The attention layers of a model while <see cref="AttentionInfluence"/> looks at them. Disposing it takes every hook
/// off.</summary>
internal sealed class AttentionWatch : IDisposable
{
    private const int SequencesAtOnce = 32;
    private readonly List<WatchedAttention> _layers = [];

    public AttentionWatch(InfluenceTask task, IReadOnlyList<AttentionInfluence.Projections> projections, bool causal)
    {
        var twice = projections
            .GroupBy(layer => ProjectedAttention.PathOf(layer.Query))
            .Where(g => g.Count() > 1)
            .Select(g => g.Key)
            .ToList();
        if (twice.Count > 0)
        {
            throw new InfluenceException(
                $"Each attention layer is named once, by its query projection; found twice: {InfluenceException.List(twice)}."
            );
        }

        try
        {
            foreach (var layer in projections)
            {
                _layers.Add(new ProjectedAttention(task.Model, layer.Query, layer.Key, layer.KeyHeads, causal));
            }

            var (native, leftOut) = RecomputedAttention.Find(task.Model, task.Attention);
            _layers.AddRange(native);
            LeftOut = leftOut;
            if (_layers.Count == 0)
            {
                throw new InfluenceException(
                    (
                        leftOut.Count == 0
                            ? "The model has no native attention, and no projections were named. "
                            : $"Of the model's attention nothing can be masked: {InfluenceException.List(leftOut)}; and no projections "
                                + "were named. "
                    )
                        + "Write Layers = [new AttentionInfluence.Projections(\"layers.0.q.weight\", \"layers.0.k.weight\", KeyHeads: 8), "
                        + "...]."
                );
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The native attention that can be neither masked nor read, with the reasons.</summary>
    public IReadOnlyList<string> LeftOut { get; } = [];

    /// <summary>Masks these heads and no others, from the next forward pass on.</summary>
    public void Mask(IEnumerable<RetrievalHeads.Head> heads)
    {
        var byLayer = heads.ToLookup(head => head.Layer, head => head.Index);
        var unknown = byLayer.Select(g => g.Key).Except(_layers.Select(l => l.Name)).ToList();
        if (unknown.Count > 0)
        {
            throw new InfluenceException(
                $"There is no attention layer {InfluenceException.List(unknown)}; there are "
                    + $"{InfluenceException.List([.. _layers.Select(l => l.Name)])}."
            );
        }

        foreach (var layer in _layers)
        {
            layer.Masked = [.. byLayer[layer.Name]];
        }
    }

    /// <summary>The share of copied tokens that each head points to.</summary>
    public IEnumerable<(RetrievalHeads.Head Head, double Score)> Pointing(CopyProbes probes, Func<Tensor, Tensor> logits, Action<int> done)
    {
        var hits = _layers.ToDictionary(layer => layer, _ => Array.Empty<double>());
        var looks = _layers.ToDictionary(layer => layer, _ => 0L);
        foreach (var part in probes.Parts(SequencesAtOnce))
        {
            using var scope = NewDisposeScope();
            _layers.ForEach(layer => layer.Probes = part);
            try
            {
                Run(logits, part.Tokens);
            }
            finally
            {
                _layers.ForEach(layer => layer.Probes = null);
            }

            foreach (var layer in _layers)
            {
                var seen = layer.Take();
                scope.Attach(seen);
                foreach (var strongest in seen)
                {
                    // [H]
                    var right = strongest
                        .eq(part.Sources.unsqueeze(1))
                        .sum([0, 2], type: ScalarType.Float64)
                        .cpu()
                        .data<double>()
                        .ToArray();
                    hits[layer] = [.. right.Select((count, h) => count + hits[layer].ElementAtOrDefault(h))];
                    looks[layer] += strongest.shape[0] * strongest.shape[2];
                }
            }

            done(part.Count);
        }

        return _layers.SelectMany(layer =>
            Enumerable.Range(0, layer.Heads).Select(h => (new RetrievalHeads.Head(layer.Name, h), hits[layer][h] / looks[layer]))
        );
    }

    /// <summary>How much the loss on copied tokens rises without each head.</summary>
    public IEnumerable<(RetrievalHeads.Head Head, double Score)> MaskedLoss(
        CopyProbes probes,
        Func<Tensor, Tensor> logits,
        Action<int> done
    )
    {
        _layers.ForEach(layer => layer.Counts = true);
        var whole = CopyLosses(probes, logits, done).Average();
        _layers.ForEach(layer => layer.Counts = false);
        var scores = new List<(RetrievalHeads.Head, double)>();
        foreach (
            var head in _layers
                .SelectMany(layer => Enumerable.Range(0, layer.Heads).Select(h => new RetrievalHeads.Head(layer.Name, h)))
                .ToList()
        )
        {
            Mask([head]);
            scores.Add((head, CopyLosses(probes, logits, done).Average() - whole));
        }

        Mask([]);
        return scores;
    }

    /// <summary>The number of heads, found out by one forward pass.</summary>
    public int CountHeads(CopyProbes probes, Func<Tensor, Tensor> logits)
    {
        using var scope = NewDisposeScope();
        _layers.ForEach(layer => layer.Counts = true);
        Run(logits, probes.Tokens.narrow(0, 0, 1));
        _layers.ForEach(layer => layer.Counts = false);
        return _layers.Sum(layer => layer.Heads);
    }

    /// <summary>The mean cross-entropy of each sequence's copied tokens, with the heads that are masked now.</summary>
    public static double[] CopyLosses(CopyProbes probes, Func<Tensor, Tensor> logits, Action<int> done)
    {
        var losses = new List<double>(probes.Count);
        foreach (var part in probes.Parts(SequencesAtOnce))
        {
            using var scope = NewDisposeScope();
            var all = Run(logits, part.Tokens);
            if (all is null || all.dim() != 3 || all.shape[0] != part.Count || all.shape[1] != part.Length)
            {
                throw new InfluenceException(
                    $"Logits returns [B, T, V] for tokens [B, T] = [{part.Count}, {part.Length}]; found "
                        + $"{(all is null ? "null" : $"[{string.Join(", ", all.shape)}]")}."
                );
            }

            var answers = part.Answers(); // [B, A]
            if (answers.max().item<long>() >= all.shape[2])
            {
                throw new InfluenceException(
                    $"The probes' vocabulary has token {answers.max().item<long>()}, but the logits are for {all.shape[2]} tokens."
                );
            }

            // [B, A, V]
            var chosen = all.index_select(1, tensor(part.Predicting, device: all.device));
            // [B, A, V]
            var predicted = F.log_softmax(chosen.dtype == ScalarType.Float64 ? chosen : chosen.to_type(ScalarType.Float32), -1);
            // [B]
            var each = predicted.gather(2, answers.unsqueeze(2)).squeeze(2).cpu().to_type(ScalarType.Float64).mean([1]).neg();
            losses.AddRange(each.data<double>().ToArray());
            done(part.Count);
        }

        return [.. losses];
    }

    public void Dispose() => _layers.ForEach(layer => layer.Dispose());

    private static Tensor Run(Func<Tensor, Tensor> logits, Tensor tokens)
    {
        try
        {
            return logits(tokens);
        }
        catch (Exception exception) when (exception is not (InfluenceException or OperationCanceledException or OutOfMemoryException))
        {
            throw new InfluenceException(
                $"Logits failed on probes of {tokens.shape[1]} tokens, [{string.Join(", ", tokens.shape)}]: "
                    + $"{exception.Message.Split('\n')[0].TrimEnd('.')}. Does the model have "
                    + "so many positions, and every token of the probes' vocabulary? Write Probes with fewer Pairs, or with other tokens.",
                exception
            );
        }
    }
}
