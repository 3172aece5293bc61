using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// The cosine of what the linear layers see of two examples: <c>e = [a_1/|a_1|, a_2/|a_2|, ...]</c> with <c>a_l</c> the mean over valid
/// positions of layer l's input, and <c>s = e_i . e_q / (|e_i| |e_q|)</c>. The half of a gradient that knows nothing of the loss: what a
/// score of influence must beat.
/// </summary>
/// <remarks>
/// The layers are the linear ones of <see cref="InfluenceTask.Layers"/>, each with the same say; those inside native attention are not
/// called as modules, and a layer that a pass does not call adds nothing. Training examples run through the training loss, queries through
/// the measurement. Positions are those of <see cref="InfluenceTask.PositionMask"/> where an input is <c>[B, T, I]</c>; of other inputs
/// <c>[B, ..., I]</c> all count, and of a layer that is called several times all calls. Cost: one forward pass an example and <c>O(Q N sum
/// of I)</c>; memory of the queries' vectors and one block of scores. Scores are float64.
/// </remarks>
/// <example>
/// <code>
/// using var scores = new ActivationSimilarity().Score(task, train, queries);
/// </code>
/// </example>
public sealed record ActivationSimilarity : IPairEstimator
{
    private const string What = "Activations";

    /// <inheritdoc/>
    /// <exception cref="InfluenceException">
    /// Bad input, no linear layer among the task's, a layer whose input does not have the examples in front, or inputs that are not finite
    /// or all zero.
    /// </exception>
    public ScoreMetadata ScoreInto(
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        using var reader = new FeatureReader(sink, task, train, queries, "activations", progress, cancellationToken);
        using var inputs = new LinearInputs(task);
        using var scope = NewDisposeScope();
        var wanted = reader.All(queries, batch => inputs.Unit(batch, LossKind.Measurement), What); // [Q, d]
        reader.Read(
            train,
            (first, batch) => sink.Add(0, first, wanted.mm(FeatureReader.Rows(own => inputs.Unit(own, LossKind.Training), batch, What).t()))
        );
        return new ScoreMetadata
        {
            Estimator = "activation similarity",
            Sign = "high = alike; it says nothing of help or harm",
            Unit = "cosine",
            Layers = $"the linear layers of {task.Layers.Description}",
        };
    }

    /// <summary>The hooks on the linear layers, and what they saw of a batch. Disposing it takes the hooks off.</summary>
    private sealed class LinearInputs : IDisposable
    {
        private readonly InfluenceTask _task;
        private readonly LossEvaluator _losses;
        private readonly (string Path, long Width)[] _layers;
        private readonly List<Action> _unhook = [];
        private readonly List<(int Layer, Tensor Sum, Tensor Count)> _seen = [];
        private (DisposeScope Scope, ExampleBatch Batch, Tensor? Mask)? _watch;
        private bool _masked;

        public LinearInputs(InfluenceTask task)
        {
            if (task.Layers.Role is LayerRole.Attention or LayerRole.Mlp)
            {
                throw new InfluenceException(
                    $"ActivationSimilarity chooses layers by name or LayerSelection.Last; found {task.Layers}. Write Layers = "
                        + "LayerSelection.Where(name => ...)."
                );
            }

            _task = task;
            var all = ModelParameter.ForForward(task.Model);
            ModelParameter[] weights =
            [
                .. all.Where(p => p is { Owner: TorchSharp.Modules.Linear, LocalName: "weight" } && task.Layers.Includes(p.Name)),
            ];
            if (weights.Length == 0)
            {
                throw new InfluenceException(
                    "Layers selects the weight of no nn.Linear, whose inputs are compared; the parameters are "
                        + $"{InfluenceException.List([.. all.Select(p => p.Name)])}. "
                        + "For other layers write new EmbeddingSimilarity(b => ...) with an embedding of your own."
                );
            }

            using var scope = NewDisposeScope();
            _losses = new LossEvaluator(task, weights[0].Value.dtype, weights[0].Value.device);
            _layers = [.. weights.Select(p => (p.Path, p.Value.shape[1]))];
            for (var k = 0; k < weights.Length; k++)
            {
                var layer = k;
                _unhook.Add(
                    ((TorchSharp.Modules.Linear)weights[k].Owner)
                        .register_forward_hook(
                            (_, input, _) =>
                            {
                                Observe(layer, input);

                                // A null result leaves the output as it is; TorchSharp's delegate types do not say so.
                                return null!;
                            }
                        )
                        .remove
                );
            }
        }

        /// <summary>The vectors of a batch, <c>[B, d]</c> of length 1; in the current scope.</summary>
        public Tensor Unit(ExampleBatch batch, LossKind kind)
        {
            using var scope = NewDisposeScope();
            _seen.Clear();
            var mask = _task.MaskOf(batch)?.ne(Kept(0));
            (_watch, _masked) = ((scope, batch, mask), false);
            try
            {
                _losses.Evaluate(batch, kind, finite: false);
            }
            finally
            {
                _watch = null;
            }

            if (mask is not null && !_masked)
            {
                throw new InfluenceException(
                    $"PositionMask has {mask.shape[1]} positions, but no linear layer's input has so many; it returns [B, T] with the T "
                        + "that the layers see."
                );
            }

            var last = _seen.Count == 0 ? -1 : _seen[^1].Layer;
            var parts = new List<Tensor>();
            for (var k = 0; k < _layers.Length; k++)
            {
                var calls = _task.Layers.LastOnly && k != last ? [] : _seen.Where(s => s.Layer == k).ToList();
                parts.Add(
                    calls.Count == 0
                        ? zeros([batch.Count, _layers[k].Width], ScalarType.Float64)
                        : FeatureReader.Normalized(
                            calls.Select(s => s.Sum).Aggregate((a, b) => a + b)
                                / calls.Select(s => s.Count).Aggregate((a, b) => a + b).clamp_min(Kept(1))
                        )
                );
            }

            var joined = cat(parts, 1); // [B, d]
            var none = joined.eq(Kept(0)).all(1);
            return none.any().item<bool>()
                ? throw FeatureReader.Named(batch, none, "The inputs of all linear layers are zero, and so without a direction,")
                : FeatureReader.Normalized(joined).MoveToOuterDisposeScope();
        }

        public void Dispose() => _unhook.ForEach(unhook => unhook());

        /// <summary>Sums at once, so that nothing that writes to the input later matters.</summary>
        private void Observe(int layer, Tensor input)
        {
            if (_watch is not var (owner, batch, mask))
            {
                return;
            }

            if (input.dim() < 2 || input.shape[0] != batch.Count)
            {
                throw new InfluenceException(
                    $"The input of {_layers[layer].Path} is [{string.Join(", ", input.shape)}] for a batch of {batch.Count} "
                        + "examples; [B, ..., I] is expected. Leave the layer out: Layers = LayerSelection.Where(...), or write new "
                        + "EmbeddingSimilarity(b => ...) with an embedding of your own."
                );
            }

            using var scope = NewDisposeScope();
            var rows = input.detach().reshape(batch.Count, -1, input.shape[^1]); // [B, T, I]
            var counts = full([batch.Count, 1], Kept(rows.shape[1]), ScalarType.Float64);
            if (mask is not null && input.dim() == 3 && input.shape[1] == mask.shape[1])
            {
                rows = rows.masked_fill(mask.logical_not().unsqueeze(2).to(rows.device), Kept(0));
                counts = mask.sum([1L], keepdim: true, type: ScalarType.Float64).cpu();
                _masked = true;
            }

            var sum = rows.sum([1L], type: ScalarType.Float64).cpu(); // [B, I]
            owner.Attach(sum, counts);
            _seen.Add((layer, sum, counts));
        }
    }
}
