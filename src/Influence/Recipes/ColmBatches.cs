using Influence.Formats;
using Influence.Gradients;
using Influence.Numerics;
using Influence.Selection;
using Influence.Training;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Recipes;

/// <summary>
/// CoLM in a training loop: of a large batch with examples of many sources a small one is chosen, on which alone a backward pass is run.
/// Two forward passes with one parameter moved back and forth give each example's gradient of it without a backward pass, Adam's state
/// makes of it the step that Adam would take, and <see cref="Colm"/> picks by these:
/// <code>g_i = (L_i(theta + epsilon z) - L_i(theta - epsilon z)) / (2 epsilon) z,   f_i = mhat(g_i) / (sqrt(vhat(g_i)) + eps)</code>
/// </summary>
/// <remarks>
/// <para>
/// The parameter is the last block's value projection, as in the paper; of a packed <c>in_proj_weight</c> its last third is taken, which
/// holds the values. z is standard normal, one for the whole batch, drawn from the seed and the batch's ids. The moments, the number of
/// steps, beta1, beta2 and eps are read from the optimizer, before its first step as zeros; amsgrad's maximum is not used. With SGD
/// and any other optimizer the gradients are taken as they are; they all lie on one line then. The passes run in evaluation mode, without
/// gradients, and the parameter has its own numbers again afterwards, bit by bit, also when a loss fails.
/// </para>
/// <para>
/// Sources are small where they have fewer examples in all than the average source, unless <see cref="Colm.SmallSources"/> says; their
/// examples in the batch are all kept, if need be above <see cref="Fraction"/>. Cost: two forward passes over the large batch, B d numbers
/// for d of the parameter, and the choice of <see cref="Colm"/>; memory of a backward pass over the small batch. Choose before the step: a
/// pass that waits for its second backward pass would find moved weights. Reference: Nguyen et al., "Mini-batch Coresets for
/// Memory-efficient Language Model Training on Data Mixtures", ICLR 2025.
/// </para>
/// </remarks>
/// <example>
/// <code>
/// var colm = new ColmBatches(sources, "blocks.1.attention.value.weight");
/// using var choice = colm.Choose(loop, large, optimizer);
/// using var step = loop.Step(choice.Batch);
/// step.Accumulate(choice.Weights);
/// optimizer.step();
/// </code>
/// </example>
public sealed record ColmBatches
{
    private const string Packed = "in_proj_weight";

    private readonly ExampleGroups _sources;
    private readonly string _parameter;

    /// <summary>Takes the sources and the parameter.</summary>
    /// <param name="sources">Each example's source; all that a batch may hold, each in one.</param>
    /// <param name="parameter">The parameter's name, as <c>named_parameters()</c> gives it: the last block's value projection.</param>
    /// <exception cref="InfluenceException">Sources that overlap, or an empty name.</exception>
    public ColmBatches(ExampleGroups sources, string parameter)
    {
        ArgumentNullException.ThrowIfNull(sources);
        ArgumentNullException.ThrowIfNull(parameter);
        if (sources.Overlap || parameter.Length == 0)
        {
            throw new InfluenceException(
                parameter.Length == 0
                    ? "The parameter has no name: write that of the last block's value projection, as model.named_parameters() gives it."
                    : "Sources overlap; each example has one source: ExampleGroups.Of(ids, id => ...)."
            );
        }

        (_sources, _parameter) = (sources, parameter);
    }

    /// <summary>How the small batch is chosen; its seed is not used.</summary>
    /// <value><c>new Colm()</c>.</value>
    public Colm Strategy
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    } = new();

    /// <summary>The share of each large batch that is trained on; at least one example is.</summary>
    /// <value>0.5, as 64 of 128 in the paper.</value>
    /// <exception cref="InfluenceException">Not above 0, or above 1.</exception>
    public double Fraction
    {
        get;
        init => field = Check.PositiveShare(value);
    } = 0.5;

    /// <summary>How far the parameter moves along z.</summary>
    /// <value>1e-3, the paper's.</value>
    /// <exception cref="InfluenceException">Not above 0.</exception>
    public double Epsilon
    {
        get;
        init => field = Check.Positive(value);
    } = 1e-3;

    /// <summary>Of the directions.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Chooses the small batch.</summary>
    /// <param name="loop">The training loop's gradients: its model and training loss are used.</param>
    /// <param name="batch">The large batch.</param>
    /// <param name="optimizer">The running optimizer; its state is read and left.</param>
    /// <returns>The choice; dispose it after the step.</returns>
    /// <exception cref="InfluenceException">A parameter that the model or the optimizer does not have, an example without a source, or
    /// losses that are not finite.</exception>
    /// <exception cref="ObjectDisposedException">The loop is disposed.</exception>
    public Result Choose(TrainingGradients loop, ExampleBatch batch, optim.Optimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(loop);
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(optimizer);
        ObjectDisposedException.ThrowIf(loop.IsDisposed, loop);
        var names = SourcesOf(batch);
        long[] positions = [.. Enumerable.Range(0, batch.Count).Select(i => (long)i)];
        var small = Small(names);
        var kept = names.Count(small.Contains);
        var count = Math.Max(kept, Math.Clamp((int)Math.Round(Fraction * batch.Count), 1, batch.Count));
        if (count == batch.Count)
        {
            return new Result(batch, [.. Enumerable.Range(0, count)], [.. Enumerable.Repeat(1.0, count)]);
        }

        using var scope = NewDisposeScope();
        using var pool = new SelectionPool(positions)
        {
            Features = Features(loop, batch, optimizer),
            Groups = ExampleGroups.Of(positions, names),
        };
        var chosen = (Strategy with { SmallSources = small }).Select(pool, SelectionBudget.Count(count));
        return new Result(batch, [.. chosen.Ids.Select(id => (int)id)], chosen.Weights);
    }

    /// <summary>z, <c>[d]</c> in the current scope.</summary>
    internal static Tensor Direction(long seed, IReadOnlyList<long> ids, long count, ScalarType dtype, Device device)
    {
        var key = ids.Aggregate(
            KeyedRandom.Key(seed, "direction of CoLM"),
            (hash, id) => KeyedRandom.Mix(hash ^ KeyedRandom.Mix((ulong)id))
        );
        return SeededNumbers.Normal((long)key, 1, count, dtype, device).reshape(-1);
    }

    /// <summary>f, <c>[B, d]</c> in float64, in the current scope.</summary>
    internal Tensor Features(TrainingGradients loop, ExampleBatch batch, optim.Optimizer optimizer)
    {
        var task = loop.Task;
        using var claim = ModelInUse.Claim(task.Model);
        using var evaluation = new EvaluationMode(task.Model);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var parameter = ModelParameter.Find(task.Model).Find(p => p.Name == _parameter) ?? throw Missing(task.Model);
        var (setting, first, second) = State(task.Model, optimizer);
        var own = Part(parameter.LocalName, parameter.Value.detach());
        var z = Direction(Seed, batch.Ids, own.numel(), own.dtype, own.device); // [d]
        var before = own.clone();
        Tensor above,
            below;
        try
        {
            above = LossesAt(Epsilon);
            below = LossesAt(-Epsilon);
        }
        finally
        {
            own.copy_(before);
        }

        var gradients = Colm.GradientsFromLosses(above, below, z.to_type(ScalarType.Float64).to(above.device), Epsilon); // [B, d]
        if (setting is not { IsAdam: true })
        {
            return gradients.MoveToOuterDisposeScope();
        }

        return Colm.AdamSteps(
                gradients,
                Moment(first),
                Moment(second),
                (first is null ? 0 : setting.Step) + 1,
                setting.Beta1,
                setting.Beta2,
                setting.Eps
            )
            .MoveToOuterDisposeScope();

        Tensor LossesAt(double epsilon)
        {
            own.copy_(before);
            own.add_(z.reshape(own.shape), alpha: Kept(epsilon));
            return loop.Session.Losses.Evaluate(batch, LossKind.Training).to_type(ScalarType.Float64); // [B]
        }

        Tensor Moment(Tensor? moment) =>
            moment is null
                ? zeros([own.numel()], ScalarType.Float64, gradients.device)
                : Part(parameter.LocalName, moment).reshape(-1).to_type(ScalarType.Float64).to(gradients.device);
    }

    /// <summary>The values' rows of a packed projection; anything else whole.</summary>
    private static Tensor Part(string name, Tensor whole) =>
        name == Packed && whole.dim() == 2 && whole.shape[0] % 3 == 0 ? whole.narrow(0, whole.shape[0] / 3 * 2, whole.shape[0] / 3) : whole;

    /// <summary>What the optimizer does with the parameter, and its moments where it has stepped.</summary>
    private (OptimizerRecord.Setting Setting, Tensor? First, Tensor? Second) State(nn.Module model, optim.Optimizer optimizer)
    {
        var moments = new Dictionary<string, Tensor>();
        var record = OptimizerRecord.Of(model, [optimizer], (name, moment) => moments[name] = moment);
        var setting =
            record.Of(_parameter)
            ?? throw new InfluenceException(
                $"The optimizer does not hold {_parameter}, whose steps the choice goes by. Make it of model.parameters(), or name a "
                    + "parameter that it holds."
            );
        return (setting, Of(OptimizerRecord.First), Of(OptimizerRecord.Second));

        Tensor? Of(string prefix) => moments.GetValueOrDefault(prefix + _parameter);
    }

    private InfluenceException Missing(nn.Module model) =>
        new(
            $"The model has no trainable parameter {_parameter}; it has "
                + $"{InfluenceException.List([.. ModelParameter.Find(model).Select(p => p.Name)])}. Write the name of the last block's value "
                + "projection."
        );

    private string[] SourcesOf(ExampleBatch batch)
    {
        long[] strange = [.. batch.Ids.Where(id => !_sources.GroupsOf.ContainsKey(id))];
        return strange.Length == 0
            ? [.. batch.Ids.Select(id => _sources.GroupsOf[id][0])]
            : throw new InfluenceException(
                $"The examples with ids {InfluenceException.List(strange)} have no source: ExampleGroups.Of(ids, id => ...) of all that a "
                    + "batch may hold."
            )
            {
                ExampleIds = strange,
            };
    }

    /// <summary>The small sources that the batch has examples of.</summary>
    private string[] Small(string[] names)
    {
        var average = _sources.Names.Average(name => _sources[name].Count);
        return [.. names.Distinct().Where(name => Strategy.SmallSources?.Contains(name) ?? _sources[name].Count < average)];
    }

    /// <summary>The small batch. Dispose it after the step.</summary>
    public sealed class Result : IDisposable
    {
        internal Result(ExampleBatch large, IReadOnlyList<int> positions, IReadOnlyList<double> weights)
        {
            Positions = positions;
            Batch = large.PickApart(positions);
            using var scope = NewDisposeScope();
            var total = weights.Sum();
            Weights = tensor([.. weights.Select(w => w / total)], dtype: ScalarType.Float64).DetachFromDisposeScope();
        }

        /// <summary>Positions in the large batch, in the order in which they were chosen.</summary>
        public IReadOnlyList<int> Positions { get; }

        /// <summary>The chosen examples; its tensors go with this.</summary>
        public ExampleBatch Batch { get; }

        /// <summary><c>[k]</c>, float64, for <see cref="TrainingStep.Accumulate(Tensor)"/>: 1/k each, or with
        /// <see cref="Colm.Weighted"/> each one's share of the large batch. They sum to 1.</summary>
        public Tensor Weights { get; }

        /// <summary>Frees the batch and the weights.</summary>
        public void Dispose()
        {
            Batch.Free();
            Weights.Dispose();
        }
    }
}
