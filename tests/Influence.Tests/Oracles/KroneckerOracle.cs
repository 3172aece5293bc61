using Influence.Curvature;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Oracles;

/// <summary>What a model's linear layers saw in one forward pass: the test models call their layers through it.</summary>
internal sealed class LayerTrace
{
    private List<(string Layer, Tensor Input, Tensor Output)>? _seen;

    /// <summary>Calls a layer and, while a trace is taken, notes its input with a column of ones, <c>[B, T, I']</c>, and its
    /// output.</summary>
    public Tensor Call(string name, nn.Module<Tensor, Tensor> layer, Tensor input)
    {
        var output = layer.call(input);
        _seen?.Add((name, WithOnes(Positions(layer, input), HasBias(layer)), output));
        return output;
    }

    /// <summary>Runs the loss of one example; its layers in order: inputs <c>[T, I']</c> and output gradients <c>[T, O]</c>.</summary>
    public List<(string Layer, Tensor Input, Tensor OutputGradient)> Run(Func<Tensor> loss)
    {
        _seen = [];
        try
        {
            var total = loss().sum();
            var gradients = autograd.grad([total], [.. _seen.Select(s => s.Output)], allow_unused: true);
            return
            [
                .. _seen.Zip(
                    gradients,
                    (s, g) =>
                        (
                            s.Layer,
                            s.Input.detach().flatten(0, 1),
                            g.IsInvalid ? zeros([s.Input.shape[1], s.Output.shape[1]], float64) : Rows(g, s.Input.shape[1])
                        )
                ),
            ];
        }
        finally
        {
            _seen = null;
        }
    }

    private static bool HasBias(nn.Module layer) =>
        layer switch
        {
            TorchSharp.Modules.Linear linear => linear.bias is not null,
            TorchSharp.Modules.Conv2d convolution => convolution.bias is not null,
            _ => throw new NotSupportedException(layer.GetName()),
        };

    /// <summary>A convolution is a linear layer over its patches.</summary>
    private static Tensor Positions(nn.Module layer, Tensor input) =>
        layer is TorchSharp.Modules.Conv2d c
            ? F.unfold(input, (c.kernel_size[0], c.kernel_size[1]), padding: (1, 1), stride: (c.stride[0], c.stride[1])).transpose(1, 2)
            : input.reshape(input.shape[0], -1, input.shape[^1]);

    private static Tensor WithOnes(Tensor rows, bool bias) =>
        bias ? cat([rows, ones([rows.shape[0], rows.shape[1], 1], rows.dtype)], 2) : rows;

    private static Tensor Rows(Tensor gradient, long positions) =>
        gradient.dim() == 4
            ? gradient.flatten(2).squeeze(0).t() // [O, L] to [L, O]
            : gradient.reshape(positions, -1);
}

/// <summary>
/// K-FAC and EK-FAC by the book: covariances over the positions of single examples, Q = Q_S (x) Q_A written out, and the
/// dense inverse of Q diag(eigenvalues) Q' + damping I. Knows nothing of the library.
/// </summary>
internal sealed class KroneckerOracle
{
    private readonly List<Layer> _layers = [];

    private sealed record Layer(string Name, Tensor A, Tensor S, Tensor Gradients)
    {
        public long Size => A.shape[0] * S.shape[0];
    }

    /// <param name="trace">The trace that the model calls its layers through.</param>
    /// <param name="model">The model.</param>
    /// <param name="loss">One loss per example.</param>
    /// <param name="examples">One batch of one for each example; lengths may differ.</param>
    /// <param name="blocks">Optional sizes of the diagonal blocks of A and S that are kept, by layer.</param>
    /// <param name="factors">K-FAC's, or those of Shampoo or TKFAC, each over its trace so that the two multiply to the curvature.</param>
    public KroneckerOracle(
        LayerTrace trace,
        nn.Module model,
        Func<Tensor[], Tensor> loss,
        IReadOnlyList<Tensor[]> examples,
        Func<string, (long[]? A, long[]? S)>? blocks = null,
        Ekfac.FactorKind factors = Ekfac.FactorKind.Kfac
    )
    {
        var inputs = new Dictionary<string, List<Tensor>>();
        var outputs = new Dictionary<string, List<Tensor>>();
        foreach (var example in examples)
        {
            foreach (var (name, a, d) in trace.Run(() => loss(example)))
            {
                (inputs.TryGetValue(name, out var rows) ? rows : inputs[name] = []).Add(a);
                (outputs.TryGetValue(name, out rows) ? rows : outputs[name] = []).Add(d);
            }
        }

        foreach (var name in inputs.Keys)
        {
            var (blocksA, blocksS) = blocks?.Invoke(name) ?? (null, null);
            var gradients = Gradients(model, loss, examples, name);
            var (a, s) = factors switch
            {
                Ekfac.FactorKind.Shampoo => OfExamples(gradients),
                Ekfac.FactorKind.Tkfac => OfPositions(inputs[name], outputs[name]),
                _ => (Moments(cat([.. inputs[name]], 0)), Moments(cat([.. outputs[name]], 0))),
            };
            _layers.Add(new Layer(name, Kept(a, blocksA), Kept(s, blocksS), gradients));
        }

        static Tensor Moments(Tensor rows) => rows.t().mm(rows) / rows.shape[0]; // [n, n]
    }

    /// <summary>R / tr R and L, example by example.</summary>
    private static (Tensor A, Tensor S) OfExamples(Tensor gradients)
    {
        var (n, o, i) = (gradients.shape[0], gradients.shape[1], gradients.shape[2]);
        var (r, l) = (zeros([i, i], float64), zeros([o, o], float64));
        for (long z = 0; z < n; z++)
        {
            r += gradients[z].t().mm(gradients[z]) / n;
            l += gradients[z].mm(gradients[z].t()) / n;
        }

        return (r / r.trace(), l);
    }

    /// <summary>A' / tr A' and S', position by position.</summary>
    private static (Tensor A, Tensor S) OfPositions(IEnumerable<Tensor> inputs, IEnumerable<Tensor> outputs)
    {
        var (rows, seen) = (cat([.. inputs], 0), cat([.. outputs], 0)); // [R, I'], [R, O]
        var (a, s) = (zeros([rows.shape[1], rows.shape[1]], float64), zeros([seen.shape[1], seen.shape[1]], float64));
        for (long t = 0; t < rows.shape[0]; t++)
        {
            a += rows[t].outer(rows[t]) * seen[t].dot(seen[t]) / rows.shape[0];
            s += seen[t].outer(seen[t]) * rows[t].dot(rows[t]) / rows.shape[0];
        }

        return (a / a.trace(), s);
    }

    public IEnumerable<string> Layers => _layers.Select(l => l.Name);

    /// <summary>The dense matrix of one layer, <c>[P, P]</c>, weights row by row with the bias as the last input.</summary>
    public Tensor Matrix(string layer, bool measured)
    {
        var (_, a, s, g) = _layers.Single(l => l.Name == layer);
        var (la, qa) = linalg.eigh(a);
        var (ls, qs) = linalg.eigh(s);
        var q = qs.kron(qa); // [O I', O I']
        var values = measured ? g.flatten(1).mm(q).Squared().mean([0]) : ls.kron(la); // [O I']
        return q.mm(diag(values)).mm(q.t());
    }

    /// <summary>Scores of every query with every training example, summed over layers, <c>[Q, N]</c>.</summary>
    public Tensor Scores(
        bool measured,
        Func<double, double> damping,
        nn.Module model,
        Func<Tensor[], Tensor> loss,
        IReadOnlyList<Tensor[]> queries
    )
    {
        var total = zeros([queries.Count, _layers[0].Gradients.shape[0]], float64);
        foreach (var layer in _layers)
        {
            var e = Matrix(layer.Name, measured);
            var lambda = damping(e.trace().item<double>() / layer.Size);
            var inverse =
                lambda == 0 ? linalg.pinv(e, rtol: 1e-12, hermitian: true) : linalg.inv(e + (lambda * eye(layer.Size, dtype: float64)));
            var q = Gradients(model, loss, queries, layer.Name).flatten(1);
            total += q.mm(inverse).mm(layer.Gradients.flatten(1).t());
        }

        return total;
    }

    /// <summary>Gradients of one layer by plain backward, the bias as one more input, <c>[N, O, I']</c>.</summary>
    private static Tensor Gradients(nn.Module model, Func<Tensor[], Tensor> loss, IReadOnlyList<Tensor[]> examples, string layer)
    {
        var weight = All("weight"); // [N, O I]
        var outputs = model.get_parameter(layer + ".weight")!.shape[0];
        var rows = weight.reshape(examples.Count, outputs, -1);
        return model.named_parameters().Any(p => p.name == layer + ".bias") ? cat([rows, All("bias").unsqueeze(2)], 2) : rows;

        Tensor All(string parameter) =>
            cat([.. examples.Select(e => SingleExampleLoop.Gradients(model, loss, e, n => n == $"{layer}.{parameter}"))], 0);
    }

    /// <summary>Zero outside of the diagonal blocks.</summary>
    private static Tensor Kept(Tensor matrix, long[]? blocks) =>
        blocks is null ? matrix : matrix * block_diag([.. blocks.Select(n => ones([n, n], float64))]);
}
