using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Attention within a native module, which is recomputed while heads are masked or read; else its own output stays.</summary>
internal sealed class RecomputedAttention : WatchedAttention
{
    private readonly NativeModule _module;
    private int _heads;

    public RecomputedAttention(NativeModule module, string name, NativeAttention attention)
        : base(name)
    {
        _module = module;
        attention.Watcher = this;
    }

    public override int Heads =>
        _heads > 0
            ? _heads
            : throw new InfluenceException($"{Name} was not called in a forward pass: is it a module that the model calls by call(...)?");

    /// <summary>
    /// Every attention layer of the model's native modules, and which modules with attention are left out and why; disposing one of a
    /// module's layers unhooks the module.
    /// </summary>
    public static (List<RecomputedAttention> Layers, List<string> LeftOut) Find(nn.Module model, InfluenceTask.Options? settings)
    {
        using var scope = NewDisposeScope();
        var (found, leftOut) = (new List<RecomputedAttention>(), new List<string>());
        try
        {
            foreach (var (path, module) in ModelParameter.Modules(model))
            {
                ModelParameter[] own =
                [
                    .. module
                        .named_parameters(recurse: false)
                        .Select(p => new ModelParameter(module, path, p.name, p.parameter.numel(), default)),
                ];
                string? reason = null;
                if (own.Length > 0 && NativeModule.For(module, own, settings, out reason) is { } native)
                {
                    found.AddRange(
                        native.Attentions.Select(a => new RecomputedAttention(
                            native,
                            string.Join('.', new[] { path, a.Name }.Where(part => part.Length > 0)),
                            a.Attention
                        ))
                    );
                }

                if ((reason ?? Unknown(module)) is { } why)
                {
                    leftOut.Add($"{(path.Length == 0 ? "the model" : path)} ({why})");
                }
            }

            return (found, leftOut);
        }
        catch
        {
            found.ForEach(layer => layer.Dispose());
            throw;
        }
    }

    /// <summary>Queries <c>[B*H, T, d]</c>, those of masked heads at zero.</summary>
    public Tensor Queries(Tensor queries, long heads)
    {
        _heads = (int)heads;
        if (Masked.Count == 0)
        {
            return queries;
        }

        using var scope = NewDisposeScope();
        var flags = MaskedColumns(heads, _heads, queries.device); // [H]
        return queries
            .reshape(-1, heads, queries.shape[1], queries.shape[2]) // [B, H, T, d]
            .masked_fill(flags.reshape(1, heads, 1, 1), Kept(0))
            .reshape(queries.shape)
            .MoveToOuterDisposeScope();
    }

    /// <summary>The weights <c>[B, H, T, S]</c> of the recomputed module.</summary>
    public void See(Tensor weights)
    {
        if (Probes is { } probes)
        {
            using var scope = NewDisposeScope();
            if (weights.shape[0] != probes.Count || weights.shape[2] != probes.Length)
            {
                throw new InfluenceException(
                    $"{Name} saw {weights.shape[0]} sequences of {weights.shape[2]} positions for {probes.Count} of {probes.Length} "
                        + "tokens. Write Retrieval = RetrievalHeads.Kind.MaskedLoss, which needs no attention."
                );
            }

            Keep(weights.index_select(2, tensor(probes.Predicting, device: weights.device)));
        }
    }

    public override void Dispose()
    {
        base.Dispose();
        _module.Recomputes = false;
        _module.Unhook();
    }

    protected override void Changed() => _module.Recomputes = _module.Attentions.Any(a => a.Attention.Watcher is { IsOn: true });

    private static string? Unknown(nn.Module module) =>
        module is Transformer or TransformerDecoder or TransformerDecoderLayer
            ? $"a native {module.GetType().Name} is not recomputed"
            : null;
}
