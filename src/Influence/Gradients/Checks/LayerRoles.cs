using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Which layers are attention and which an MLP. One example is run with the output of every linear layer cut off and made a leaf; what a
/// layer's input depends on are then the linear layers right before it, and at which positions.
/// </summary>
internal sealed class LayerRoles
{
    private readonly List<Node> _nodes = [];
    private readonly List<Action> _unhook = [];
    private HashSet<int> _beforeLoss = [];

    private LayerRoles() { }

    /// <summary>One call of a linear layer, or several layers that are one linear map.</summary>
    private sealed record Node(nn.Module Layer, Tensor Input, Tensor Leaf) : IDisposable
    {
        public long Inputs => Input.shape[^1];

        public long Outputs => Leaf.shape[^1];

        public long Rows => Input.numel() / Math.Max(1, Inputs);

        public long OutputRows => Leaf.numel() / Math.Max(1, Outputs);

        /// <summary>The layers right before it, by their place in the order of calls.</summary>
        public HashSet<int> Before { get; } = [];

        /// <summary>The layers right after it.</summary>
        public HashSet<int> After { get; } = [];

        /// <summary>Whether a position of its input depends on others.</summary>
        public bool Mixes { get; set; }

        public void Dispose()
        {
            Input.Dispose();
            Leaf.Dispose();
        }
    }

    /// <summary>The trainable parameters of a role, tied ones by each of their names.</summary>
    /// <param name="hooks">The model's hooks; none of them is watching.</param>
    /// <param name="example">One example.</param>
    /// <param name="selection">Attention or MLPs.</param>
    /// <exception cref="InfluenceException">There are none.</exception>
    public static IReadOnlyList<ModelParameter> Members(LayerHooks hooks, ExampleBatch example, LayerSelection selection)
    {
        using var scope = NewDisposeScope();
        var roles = new LayerRoles();
        HashSet<nn.Module> modules;
        var positions = 0L;
        try
        {
            roles.Watch(hooks, example);
            modules = roles.Of(selection.Role);
            positions = roles._nodes.Select(n => n.Rows).DefaultIfEmpty().Max();
        }
        finally
        {
            roles._nodes.ForEach(node => node.Dispose());
        }

        var found = hooks
            .Selected.Where(p => modules.Contains(p.Owner) || NativeRole(p) == selection.Role)
            .Select(p => p.Storage)
            .ToHashSet();
        return found.Count > 0
            ? [.. hooks.Selected.Where(p => found.Contains(p.Storage))]
            : throw new InfluenceException(
                selection.Role == LayerRole.Attention
                    ? "LayerSelection.Attention finds no attention with trainable weights: there is no native attention module, and no "
                        + "linear layer, run by call(...), whose input at one position depends on linear layers' outputs at others "
                        + $"that feed nothing else ({roles._nodes.Count} calls of linear layers seen, over {positions} positions at "
                        + "most). Write Layers = LayerSelection.Where(name => ...)."
                    : "LayerSelection.Mlp finds no MLP with trainable weights: no linear layer, run by call(...), whose output feeds one "
                        + "other linear layer and nothing else, with a nonlinearity between "
                        + $"({roles._nodes.Count} calls of linear layers seen). Write Layers = LayerSelection.Where(name => ...)."
            );
    }

    /// <summary>Whether a parameter belongs to a table of embeddings.</summary>
    public static bool IsEmbedding(ModelParameter parameter) => parameter.Owner is Embedding or EmbeddingBag;

    /// <summary>The parameters of native modules have libtorch's names, which are its interface.</summary>
    private static LayerRole NativeRole(ModelParameter parameter) =>
        parameter.Owner switch
        {
            MultiheadAttention => LayerRole.Attention,
            TransformerEncoderLayer or TransformerEncoder or TransformerDecoderLayer or TransformerDecoder or Transformer =>
                parameter.LocalName.Split('.') switch
                {
                    var parts when parts.Any(part => part is "self_attn" or "multihead_attn") => LayerRole.Attention,
                    var parts when parts.Any(part => part is "linear1" or "linear2") => LayerRole.Mlp,
                    _ => LayerRole.ByName,
                },
            _ => LayerRole.ByName,
        };

    private static bool IsLinear(nn.Module module)
    {
        if (module is not nn.Module<Tensor, Tensor> || module is Embedding or LayerNorm or jit.ScriptModule || module.children().Any())
        {
            return false;
        }

        using var weight = module.get_parameter("weight")?.detach();
        return weight is not null && weight.dim() == 2;
    }

    private void Watch(LayerHooks hooks, ExampleBatch example)
    {
        using var grad = enable_grad();
        Tensor losses;
        try
        {
            foreach (var (_, module) in ModelParameter.Modules(hooks.Task.Model))
            {
                Hook(module);
            }

            losses = hooks.Losses.Evaluate(example, LossKind.Training);
        }
        finally
        {
            _unhook.ForEach(remove => remove());
        }

        for (var m = 0; m < _nodes.Count; m++)
        {
            Connect(m);
        }

        _beforeLoss =
        [
            .. Reached(losses, ones_like(losses), _nodes.Count).Where(r => r.Gradient.ne(Kept(0)).any().item<bool>()).Select(r => r.Node),
        ];
    }

    /// <summary>A linear layer's output goes on as a leaf; what another layer with weights gives is no dependence.</summary>
    private void Hook(nn.Module module)
    {
        // A null result leaves inputs as they are; what is cut off is detached.
        switch (module)
        {
            case nn.Module<Tensor, Tensor> layer when IsLinear(module):
                _unhook.Add(
                    layer
                        .register_forward_hook(
                            (_, input, output) =>
                            {
                                // A copy of the input, which code after the layer may write to, and one of the leaf, which may be written
                                // to as well.
                                var leaf = output.detach().clone().requires_grad_(true);
                                _nodes.Add(new Node(module, Lasting(input.clone()), Lasting(leaf)));
                                return leaf.clone();
                            }
                        )
                        .remove
                );
                break;
            case Convolution or ConvolutionTranspose:
                _unhook.Add(((nn.Module<Tensor, Tensor>)module).register_forward_hook((_, _, output) => output.detach()).remove);
                break;
            case MultiheadAttention attention:
                _unhook.Add(
                    attention
                        .register_forward_hook((_, _, _, _, _, _, _, native) => Tuple.Create(native.Item1.detach(), native.Item2))
                        .remove
                );
                break;
            case TransformerEncoderLayer encoderLayer:
                _unhook.Add(encoderLayer.register_forward_hook((_, _, native) => native.detach()).remove);
                break;
            case TransformerEncoder encoder:
                _unhook.Add(encoder.register_forward_hook((_, _, _, _, native) => native.detach()).remove);
                break;
            case LSTM lstm:
                _unhook.Add(
                    lstm.register_forward_hook(
                        (_, _, _, output) => (output.Item1.detach(), output.Item2.detach(), output.Item3.detach())
                    ).remove
                );
                break;
            case GRU gru:
                _unhook.Add(gru.register_forward_hook((_, _, _, output) => (output.Item1.detach(), output.Item2.detach())).remove);
                break;
            case RNN rnn:
                _unhook.Add(rnn.register_forward_hook((_, _, _, output) => (output.Item1.detach(), output.Item2.detach())).remove);
                break;
        }
    }

    /// <summary>The model's own scopes may end before the pass is looked at.</summary>
    private static Tensor Lasting(Tensor tensor) => tensor.alias().DetachFromDisposeScope();

    private void Connect(int m)
    {
        var node = _nodes[m];
        if (!node.Input.requires_grad || node.Input.numel() == 0)
        {
            return;
        }

        using var scope = NewDisposeScope();
        var rows = node.Rows;
        var all = arange(Kept(1), Kept(node.Input.numel() + 1), ScalarType.Float64, node.Input.device)
            .cos()
            .reshape(node.Input.shape)
            .to_type(node.Input.dtype);
        foreach (var (before, gradient) in Reached(node.Input, all, m))
        {
            if (gradient.ne(Kept(0)).any().item<bool>())
            {
                node.Before.Add(before);
                _nodes[before].After.Add(m);
            }
        }

        // The last position shows causal attention, the others attention that a mask keeps from there.
        foreach (var position in new[] { rows - 1, rows / 2, 0 }.Distinct())
        {
            var one = zeros_like(all).reshape(rows, -1);
            one.select(0, position).copy_(all.reshape(rows, -1).select(0, position));
            foreach (var (before, gradient) in Reached(node.Input, one.reshape(node.Input.shape), m))
            {
                var others = _nodes[before].OutputRows;
                var touched = gradient.reshape(others, -1).ne(Kept(0)).any(1); // [R]
                var count = touched.sum().item<long>() - (others == rows && touched[position].item<bool>() ? 1 : 0);
                node.Mixes |= count > (others == rows ? 0 : 1);
            }
        }

        // A mean over positions has no layer before it at as many.
        node.Mixes &= node.Before.Any(before => _nodes[before].OutputRows == rows);
    }

    /// <summary>The vector-Jacobian products of a tensor with the outputs of the first layers.</summary>
    private IEnumerable<(int Node, Tensor Gradient)> Reached(Tensor output, Tensor along, int count)
    {
        if (count == 0 || !output.requires_grad)
        {
            return [];
        }

        var gradients = GuardedBackward.Gradients([output], _nodes.Take(count).Select(n => n.Leaf), GraphAfter.Kept, [along]);
        return
        [
            .. gradients
                .Select((gradient, k) => (k, gradient))
                .Where(pair => pair.gradient is not null)
                .Select(pair => (pair.k, pair.gradient!)),
        ];
    }

    /// <summary>The modules of a role.</summary>
    private HashSet<nn.Module> Of(LayerRole role)
    {
        var leader = Joined();
        var groups = leader
            .Distinct()
            .ToDictionary(
                k => k,
                k => new Group(
                    [.. _nodes.SelectMany((n, i) => leader[i] == k ? n.Before : []).Select(b => leader[b]).Where(b => b != k)],
                    [.. _nodes.SelectMany((n, i) => leader[i] == k ? n.After : []).Select(a => leader[a]).Where(a => a != k)],
                    _nodes.Where((_, i) => leader[i] == k).Any(n => n.Mixes)
                )
            );
        var attention = groups.Where(g => g.Value.Mixes && FeedOnlyIt(g.Value)).SelectMany(g => g.Value.Before.Append(g.Key)).ToHashSet();
        var found =
            role == LayerRole.Attention
                ? attention
                : groups
                    .Where(g =>
                        !attention.Contains(g.Key)
                        && !g.Value.Mixes
                        && FeedOnlyIt(g.Value)
                        && !g.Value.Before.Overlaps(attention)
                        && !IsHead(g.Key)
                    )
                    .SelectMany(g => g.Value.Before.Append(g.Key))
                    .ToHashSet();
        return _nodes
            .Where((_, i) => found.Contains(leader[i]))
            .Select(n => n.Layer)
            .ToHashSet<nn.Module>(ReferenceEqualityComparer.Instance);

        // Layers that have the same layers before them, as those of LoRA beside its base, see the same input.
        bool FeedOnlyIt(Group group) =>
            group.Before.Count > 0
            && group.Before.All(before => groups[before].After.All(after => groups[after].Before.SetEquals(group.Before)));

        // In a model without attention the last layer is one of its MLP.
        bool IsHead(int k) => attention.Count > 0 && _beforeLoss.Select(b => leader[b]).ToHashSet().SetEquals([k]);
    }

    private sealed record Group(HashSet<int> Before, HashSet<int> After, bool Mixes);

    /// <summary>For each call the call that stands for it: calls of one layer, and two layers with nothing between and a narrow middle, are
    /// one.</summary>
    private int[] Joined()
    {
        using var scope = NewDisposeScope();
        var leader = Enumerable.Range(0, _nodes.Count).ToArray();
        for (var k = 0; k < leader.Length; k++)
        {
            var node = _nodes[k];
            var first = _nodes.FindIndex(other => ReferenceEquals(other.Layer, node.Layer));
            if (first < k)
            {
                Join(first, k);
            }

            if (
                node.Before.Count == 1
                && _nodes[node.Before.Single()] is { } before
                && before.After.Count == 1
                && before.Outputs < before.Inputs
                && before.Outputs < node.Outputs
                && node.Input.shape.AsSpan().SequenceEqual(before.Leaf.shape)
                && node.Input.eq(before.Leaf).all().item<bool>()
            )
            {
                Join(node.Before.Single(), k);
            }
        }

        return leader;

        void Join(int into, int k)
        {
            var (to, from) = (leader[into], leader[k]);
            for (var i = 0; i < leader.Length; i++)
            {
                leader[i] = leader[i] == from ? to : leader[i];
            }
        }
    }
}
