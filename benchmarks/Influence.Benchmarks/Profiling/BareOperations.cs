using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Workloads;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Profiling;

/// <summary>
/// What a stage's operations take alone in libtorch, on tensors of the same sizes: passes of the same model, and the matrix products that a
/// contraction cannot do without.
/// </summary>
internal sealed class BareOperations(Workload workload)
{
    private readonly Dictionary<string, double> _passes = [];
    private readonly Dictionary<(ContractionSpan, long), double> _contractions = [];
    private double? _copy;

    /// <summary>Seconds of all calls of a stage; null where nothing is comparable.</summary>
    public double? SecondsOf(Spans.Tally stage)
    {
        var each = stage.Calls == 0 ? 0 : stage.Examples / stage.Calls;
        return stage switch
        {
            { Name: "capture forward", Examples: > 0 } => stage.Calls * Pass(each, ofWeights: false, backward: false),
            { Name: "capture backward", Examples: > 0 } => stage.Calls * Pass(each, ofWeights: false, backward: true),
            { Name: "plain forward", Examples: > 0 } => stage.Calls * Pass(each, ofWeights: true, backward: false),
            { Name: "plain backward", Examples: > 0 } => stage.Calls * Pass(each, ofWeights: true, backward: true),
            { Detail: ContractionSpan contraction, Examples: > 0 } => stage.Calls * Contraction(contraction, each),
            { Name: "batches joined" or "products handed on", Bytes: > 0 } => stage.Bytes * SecondsPerByte(),
            _ => null,
        };
    }

    /// <summary>A forward or a backward pass over some examples: with the gradients of all weights, or of the first layer's bias alone,
    /// which takes the gradients of all layers' outputs and of no weight.</summary>
    private double Pass(long examples, bool ofWeights, bool backward)
    {
        var (forward, back) = ($"{examples} {ofWeights} forward", $"{examples} {ofWeights} backward");
        if (!_passes.ContainsKey(forward))
        {
            var (x, y) = (workload.Train.X.narrow(0, 0, examples), workload.Train.Y.narrow(0, 0, examples));
            var parameters = workload.Model.named_parameters().ToList();
            var first = parameters.First(p => p.name.EndsWith("bias", StringComparison.Ordinal)).parameter;
            foreach (var (_, parameter) in parameters)
            {
                parameter.requires_grad = ofWeights;
            }

            first.requires_grad = true;
            var (forwards, backwards) = (new Samples(), new Samples());
            for (var round = 0; round < Rounds; round++)
            {
                using var scope = NewDisposeScope();
                Tensor? total = null;
                forwards.Add(ThreadClock.Time(() => total = workload.Loss(x, y).sum()));
                backwards.Add(ThreadClock.Time(() => total!.backward()));
                workload.Model.zero_grad();
            }

            foreach (var (_, parameter) in parameters)
            {
                parameter.requires_grad = true;
            }

            (_passes[forward], _passes[back]) = (forwards.Min, backwards.Min);
        }

        return _passes[backward ? back : forward];
    }

    private const int Rounds = 12;

    private double Contraction(ContractionSpan of, long examples)
    {
        if (_contractions.TryGetValue((of, examples), out var known))
        {
            return known;
        }

        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var (t, i, o, q, b) = (of.Shape.Positions, of.Shape.Inputs, of.Shape.Outputs, of.Queries, examples);
        var (a, d) = (randn(b, t, i), randn(b, t, o));
        var (rowsA, rowsD) = (a.reshape(b * t, i), d.reshape(b * t, o));
        return _contractions[(of, examples)] = of.Form switch
        {
            ContractionSpan.Norms when t == 1 => Fastest(() => (linalg.vector_norm(rowsA, 2, [1]), linalg.vector_norm(rowsD, 2, [1]))),
            ContractionSpan.Norms => Math.Min(
                Fastest(() => (a.bmm(a.transpose(1, 2)), d.bmm(d.transpose(1, 2)))),
                Fastest(() => (linalg.vector_norm(Written(), 2, [1]), a))
            ),
            ContractionSpan.Sums => Fastest(() => (rowsD.t().mm(rowsA), d)),
            ContractionSpan.WrittenOut => Fastest(() => (Written(), d)),
            ContractionSpan.Overlaps or ContractionSpan.Means or nameof(Gradients.Contraction.Ghost) when t == 1 => Pairs(q),
            nameof(Gradients.Contraction.Ghost) => Pairs(q * t),
            ContractionSpan.Overlaps or ContractionSpan.Means or nameof(Gradients.Contraction.Dense) => Dense(),
            nameof(Gradients.Contraction.Factored) => Factored(),
            _ => 0,
        };

        Tensor Written() => d.transpose(1, 2).bmm(a).reshape(b, o * i);

        double Pairs(long left)
        {
            var (leftA, leftD) = (randn(left, i), randn(left, o));
            return Fastest(() => (leftA.mm(rowsA.t()), leftD.mm(rowsD.t())));
        }

        double Dense()
        {
            var (queries, written) = (randn(of.Form == ContractionSpan.Means ? 1 : q, o * i), Written());
            return Fastest(() => (queries.mm(written.t()), of.Form == nameof(Gradients.Contraction.Dense) ? d.transpose(1, 2).bmm(a) : a));
        }

        double Factored()
        {
            var queries = randn(q * o, i);
            return Fastest(() => (queries.mm(rowsA.t()), a));
        }
    }

    private double SecondsPerByte()
    {
        if (_copy is null)
        {
            using var scope = NewDisposeScope();
            var from = randn(1 << 18);
            _copy = Fastest(() => (from.clone(), from)) / (4 << 18);
        }

        return _copy.Value;
    }

    private static double Fastest(Func<(Tensor, Tensor)> run)
    {
        var samples = new Samples();
        for (var round = 0; round < Rounds; round++)
        {
            using var scope = NewDisposeScope();
            samples.Add(ThreadClock.Time(() => run()));
        }

        return samples.Min;
    }
}
