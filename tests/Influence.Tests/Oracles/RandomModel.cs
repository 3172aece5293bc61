using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Oracles;

/// <summary>
/// A model that nobody would think of: layers of many kinds in a row, each used in a way that a seed draws (rows in another order, a part
/// of the rows, pieces of the batch, positions first, several copies of a row, twice, beside a use as a plain weight, in place afterwards),
/// with data whose flags come late. Every example's loss follows from that example alone.
/// </summary>
internal sealed class RandomModel
{
    private readonly Random _random;
    private readonly List<(string Name, nn.Module Module)> _parts = [];
    private readonly List<Func<Tensor, ExampleBatch, Tensor>> _steps = [];
    private readonly List<string> _told = [];
    private readonly List<Func<ExampleBatch, Tensor>> _penalties = [];
    private readonly int _positions;
    private readonly int _width;

    public RandomModel(int seed)
    {
        _random = new Random(seed);
        random.manual_seed(seed);
        (_positions, _width) = (_random.Next(1, 4), 2 * _random.Next(2, 4));
        var count = _random.Next(6, 26);
        BatchSize = _random.Next(2, 9);
        var flag = rand(count) > Pick(0.3, 0.7);
        if (_random.Next(2) == 0)
        {
            flag.narrow(0, 0, Math.Min(count - 1, 2 * BatchSize)).fill_(false);
        }

        var x = randn(count, _positions, _width, dtype: float64);
        if (_random.Next(3) == 0)
        {
            x.narrow(0, 1, 1).copy_(x.narrow(0, 0, 1));
        }

        Data = [("x", x), ("flag", flag), ("key", rand(count, dtype: float64)), ("y", randint(0, _width, [count]))];
        for (var depth = _random.Next(1, 5); depth > 0; depth--)
        {
            AddStep();
        }

        if (_parts.Count == 0)
        {
            AddStep();
        }

        Model = new Composite(t => t, [.. _parts]);
    }

    public nn.Module Model { get; }

    public int BatchSize { get; }

    public (string Name, Tensor Tensor)[] Data { get; }

    /// <summary>Whether a layer is given rows whose output is then dropped, though not where they are alone: its inputs' covariance, though
    /// not its gradients, follows from the batch.</summary>
    public bool DropsRows { get; private set; }

    public string Description => $"batches of {BatchSize}, [{string.Join(", ", Data[0].Tensor.shape)}]: {string.Join("; ", _told)}";

    /// <summary>[B].</summary>
    public Tensor Loss(ExampleBatch batch)
    {
        var h = batch["x"];
        foreach (var step in _steps)
        {
            h = step(h, batch);
        }

        var loss = Measure(h, batch);
        foreach (var penalty in _penalties)
        {
            loss = loss + penalty(batch);
        }

        return loss;
    }

    private Tensor Measure(Tensor h, ExampleBatch batch) =>
        F.cross_entropy(h.mean([1]), batch["y"], reduction: nn.Reduction.None) + (h * h).mean([1, 2]);

    private T Pick<T>(params T[] choices) => choices[_random.Next(choices.Length)];

    private void AddStep()
    {
        var (layer, kind, raw) = Layer();
        var (use, how) = Use(layer, raw);
        var (after, then) = After();
        _told.Add($"{kind} {how} {then}");
        _steps.Add((h, batch) => after(use(h, batch), h, batch));
    }

    /// <summary>A layer from [.., T, D] to the same, and its weight [D, D] where it has one.</summary>
    private (Func<Tensor, Tensor> Call, string Kind, Tensor? Weight) Layer()
    {
        var name = $"l{_parts.Count}";
        var bias = _random.Next(3) > 0;
        switch (_random.Next(9))
        {
            case 0 or 1 or 2:
                var linear = nn.Linear(_width, _width, hasBias: bias, dtype: float64);
                _parts.Add((name, linear));
                return (linear.call, "Linear", linear.weight);
            case 3:
                var norm = nn.LayerNorm(_width, dtype: float64);
                _parts.Add((name, norm));
                return (norm.call, "LayerNorm", null);
            case 4:
                var convolution = nn.Conv1d(_width, _width, 3, padding: 1, bias: bias, dtype: float64);
                _parts.Add((name, convolution));
                return (h => convolution.call(h.transpose(-1, -2)).transpose(-1, -2), "Conv1d", null);
            case 5:
                var (down, up) = (nn.Linear(_width, 3, hasBias: bias, dtype: float64), nn.Linear(3, _width, dtype: float64));
                _parts.Add((name + "d", down));
                _parts.Add((name + "u", up));
                return (h => up.call(down.call(h).relu_()), "two Linear", null);
            case 6:
                var lstm = nn.LSTM(_width, _width, batchFirst: true, dtype: float64);
                _parts.Add((name, lstm));
                return (h => h.dim() == 3 ? lstm.call(h, null).Item1 : h.tanh(), "LSTM", null);
            case 7:
                var groups = nn.GroupNorm(2, _width, dtype: float64);

                // TorchSharp 0.107 leaves them as the memory was.
                nn.init.uniform_(groups.weight, 0.5, 1.5);
                nn.init.uniform_(groups.bias, -0.5, 0.5);
                _parts.Add((name, groups));
                return (h => groups.call(h.reshape(-1, _width, 1)).reshape(h.shape), "GroupNorm", null);
            default:
                var table = nn.Embedding(4, _width, dtype: float64);
                _parts.Add((name, table));
                return (h => h + table.call((h.select(-1, 0) > 0).to_type(ScalarType.Int64)), "Embedding", null);
        }
    }

    private (Func<Tensor, ExampleBatch, Tensor> Use, string How) Use(Func<Tensor, Tensor> layer, Tensor? weight)
    {
        switch (_random.Next(17))
        {
            case 0:
                return ((h, _) => layer(h.flip(0)).flip(0), "on flipped rows");
            case 1:
                return (
                    (h, b) =>
                    {
                        var order = b["key"].argsort();
                        return layer(h.index_select(0, order)).index_select(0, order.argsort());
                    },
                    "on sorted rows"
                );
            case 2:
                return ((h, _) => cat([.. h.split(2).Select(layer)], 0), "on pieces of two");
            case 3:
                return (
                    (h, b) =>
                    {
                        var rows = b["flag"].nonzero().squeeze(1);
                        return rows.shape[0] == 0 ? h.tanh() + 0 : h.tanh().index_add(0, rows, layer(h.index_select(0, rows)), 1);
                    },
                    "on flagged rows"
                );
            case 4:
                return ((h, b) => b["flag"].any().item<bool>() ? layer(h.flip(0)).flip(0) : layer(h), "flipped where a flag is");
            case 5:
                return ((h, _) => layer(h.reshape(-1, 1, _width)).reshape(h.shape), "with positions as rows");
            case 6:
                return ((h, _) => layer(cat([h, h.sin()], 0)).split(h.shape[0]) is var two ? two[0] * two[1] : h, "on both of a pair");
            case 7:
                return (
                    (h, _) => layer(h.repeat_interleave(2, 0)).reshape(h.shape[0], 2, h.shape[1], _width).mean([1]),
                    "on two copies of a row"
                );
            case 8:
                return ((h, _) => layer(layer(h).tanh()), "twice");
            case 9:
                return (
                    (h, _) =>
                    {
                        using (no_grad())
                        {
                            layer(h).Dispose();
                        }

                        return layer(h);
                    },
                    "after a look without gradients"
                );
            case 10:
                return ((h, b) => layer(h) * b["flag"].to_type(float64).reshape(-1, 1, 1) + h, "times a flag");
            case 11:
                DropsRows = true;
                return (
                    (h, b) => b["flag"].all().item<bool>() ? h + 0 : where(b["flag"].reshape(-1, 1, 1), h, layer(h)),
                    "unless all have a flag"
                );
            case 12 when weight is not null:
                return ((h, b) => F.linear(layer(h).tanh(), weight.t()), "and its weight transposed");
            case 13 when weight is not null:
                return (
                    (h, b) => where(b["flag"].reshape(-1, 1, 1), F.linear(h, weight), layer(h).tanh()),
                    "or its weight, where a flag is"
                );
            case 14 when weight is not null:
                _penalties.Add(b => b["flag"].to_type(float64) * b["key"] * (weight * weight).sum());
                return ((h, _) => layer(h), "with a penalty on flagged examples");
            case 15:
                return ((h, _) => layer(h.detach()) + h, "on detached inputs");
            default:
                return ((h, _) => layer(h), "plainly");
        }
    }

    private (Func<Tensor, Tensor, ExampleBatch, Tensor> After, string Then) After()
    {
        switch (_random.Next(9))
        {
            case 0:
                return ((z, _, _) => z.tanh(), "then tanh");
            case 1:
                return ((z, _, _) => (z + 0).relu_(), "then relu in place");
            case 2:
                return ((z, _, _) => z.clamp_(-1.5, 1.5), "then clamped in place");
            case 3:
                return ((z, h, _) => z + h, "beside the input");
            case 4:
                return ((z, _, b) => z.masked_fill_(b["flag"].reshape(-1, 1, 1), 0.25), "then filled in place where a flag is");
            case 5:
                return ((z, _, b) => z.mul_(b["key"].reshape(-1, 1, 1) + 1), "then scaled in place");
            case 6:
                return ((z, h, b) => where(b["flag"].reshape(-1, 1, 1), h, z), "or the input, where a flag is");
            case 7:
                return ((z, _, _) => z.sigmoid(), "then sigmoid");
            default:
                return ((z, _, _) => z, string.Empty);
        }
    }
}
