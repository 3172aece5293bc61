using Influence.Display;
using Microsoft.Extensions.Logging;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>
/// What is to be explained: a model, the loss that it was trained with, and, where that differs, the measurement on
/// queries. It holds no data and changes nothing: the model is left as it was found after every call.
/// </summary>
/// <remarks>
/// Put the model in evaluation mode first (<c>model.eval()</c>): dropout and batch statistics make gradients random or mix
/// the examples of a batch, and are refused by name. The model stays the caller's. While a call runs, no other thread may
/// use the model, and other TorchSharp work belongs on the calling thread only.
/// </remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed partial record InfluenceTask : IDisplay
{
    /// <summary>Takes the model.</summary>
    /// <param name="model">
    /// The model; float32 or float64, on any device. A float16 or bfloat16 model runs as it is, and gradients are kept, summed and
    /// multiplied in float32: for <c>TracIn</c>, K-FAC, EK-FAC and the diagonal; what differentiates twice refuses it.
    /// </param>
    public InfluenceTask(nn.Module model)
    {
        ArgumentNullException.ThrowIfNull(model);
        Model = model;
    }

    /// <summary>The model.</summary>
    public nn.Module Model { get; }

    /// <summary>
    /// One loss per example, <c>[B]</c>, as in training but without the mean:
    /// <c>b => functional.cross_entropy(model.call(b["x"]), b["y"], reduction: Reduction.None)</c>, or
    /// <see cref="Losses.CrossEntropy"/>, whose gradient stays exact for examples that are fitted well. Call modules by
    /// <c>call</c>, not <c>forward</c>: only the former is seen.
    /// </summary>
    public required Func<ExampleBatch, Tensor> TrainingLoss { get; init; }

    /// <summary>What is explained about a query, one value per example, <c>[B]</c>; lower is better.</summary>
    /// <value>The training loss.</value>
    public Func<ExampleBatch, Tensor>? Measurement { get; init; }

    /// <summary>
    /// The training loss with labels drawn from the model's own predictions, <c>[B]</c>, for the true Fisher. Needed only
    /// where the training loss is not made of <see cref="Losses"/>, which know how to draw:
    /// <c>(b, draw) => { var z = model.call(b["x"]); return functional.cross_entropy(z, draw.Categorical(z), reduction: Reduction.None);
    /// }</c>
    /// </summary>
    /// <value>Null: the training loss, its <see cref="Losses"/> drawing the labels.</value>
    public Func<ExampleBatch, Sampler, Tensor>? SampledLoss { get; init; }

    /// <summary>The parameters that take part.</summary>
    /// <value><see cref="LayerSelection.All"/>: every parameter with <c>requires_grad</c>.</value>
    public LayerSelection Layers { get; init; } = LayerSelection.All;

    /// <summary>
    /// Parameters whose gradients are taken by one forward and backward pass for each example, exact for anything that autograd can
    /// differentiate, though a layer rule would be quicker. For layers that are right by a rule in most batches only: those that see
    /// rows in another order than the batch's, or some of the examples. Opening a call finds them where its first examples show it, and a
    /// later batch that shows it is refused, naming them, where scores were made before it.
    /// </summary>
    /// <value>Null: none beyond what is found.</value>
    public LayerSelection? SingleExamples { get; init; }

    /// <summary>
    /// Which positions of an example are real, <c>[B, T]</c>, for padded sequences: what layers see at the other positions
    /// does not count. Needed only where padding positions get a gradient, that is where the model does not mask them. Where it
    /// does, K-FAC and EK-FAC find the positions that the loss does not depend on themselves: those at which the gradients of the outputs
    /// of all linear layers and embeddings over as many positions are exactly zero. They are no part of the means over positions,
    /// so that scores do not change with the amount of padding. Convolutions count all their positions.
    /// </summary>
    /// <value>None: every position counts.</value>
    public Func<ExampleBatch, Tensor>? PositionMask { get; init; }

    /// <summary>
    /// What TorchSharp does not let one read of native attention (<c>nn.MultiheadAttention</c>, <c>nn.TransformerEncoder</c>,
    /// <c>nn.TransformerEncoderLayer</c>). Needed only where it cannot be found by trying.
    /// </summary>
    /// <value>Null: found by agreement with the module's own output on the first examples.</value>
    public Options? Attention { get; init; }

    /// <summary>Where warnings and timings go.</summary>
    /// <value>None.</value>
    public ILogger? Logger { get; init; }

    /// <summary>Leaves out every check that comes beside each batch's own pass, so that a benchmark can measure what they cost.</summary>
    internal bool WithoutChecks { get; init; }

    /// <summary>The model's type and the parameters that take part.</summary>
    /// <returns>One line.</returns>
    public override string ToString() => $"{Model.GetType().Name}, {Layers.Description}";

    /// <summary>Gives what was set as an HTML table, for notebooks and other front ends.</summary>
    /// <returns>The fragment.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            $"Task on {Model.GetType().Name}",
            ["setting", "value"],
            [
                ["layers", Layers.Description],
                ["measurement", Measurement is null ? "the training loss" : "its own"],
                ["labels for the true Fisher", SampledLoss is null ? "drawn by the losses of Influence.Losses" : "drawn by SampledLoss"],
                ["taken example by example", SingleExamples?.Description ?? "what has no rule"],
                ["position mask", PositionMask is null ? "none" : "given"],
            ]
        );

    /// <summary>The mask of a batch's positions, checked to be <c>[B, T]</c>, in the current scope; null where there is none.</summary>
    internal Tensor? MaskOf(ExampleBatch batch)
    {
        if (PositionMask is not { } positions)
        {
            return null;
        }

        var mask = positions(batch);
        return mask.dim() == 2 && mask.shape[0] == batch.Count
            ? mask
            : throw new InfluenceException($"PositionMask returns [B, T] with B = {batch.Count}; found [{string.Join(", ", mask.shape)}].");
    }

    /// <summary>The same training loss on other layers, without the measurement.</summary>
    internal InfluenceTask ForTraining(LayerSelection layers) => this with { Layers = layers, Measurement = null };
}
