using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Training;

/// <summary><see cref="OutputMeasures"/> by tensor operations, on the logits' device: for many classes, and where a copy would wait for the
/// device.</summary>
internal static class OutputTensors
{
    private const int Rows = 6;

    // Elements of one intermediate: 64 MiB in float32. Logits of a language model are the largest tensor of its step.
    private const long Elements = 1 << 24;

    /// <summary>
    /// Probability, margin, loss, EL2N, share of correct positions and number of positions, <c>[6, B]</c>, in the current dispose
    /// scope. Nothing is copied to the host.
    /// </summary>
    /// <param name="logits"><c>[B, T, C]</c>.</param>
    /// <param name="labels"><c>[B, T]</c>, on the same device.</param>
    /// <param name="mask"><c>[B, T]</c> or null.</param>
    /// <param name="ignored">The label of positions that do not count.</param>
    public static Tensor Measure(Tensor logits, Tensor labels, Tensor? mask, long ignored)
    {
        using var scope = NewDisposeScope();
        var (batch, positions, classes) = (logits.shape[0], logits.shape[1], logits.shape[2]);
        var counts = labels.ne(Kept(ignored)); // [B, T]
        if (mask is not null)
        {
            counts = counts.logical_and(mask.to_type(ScalarType.Bool));
        }

        var bad = counts.logical_and(labels.lt(Kept(0)).logical_or(labels.ge(Kept(classes)))); // [B, T]
        var index = labels.masked_fill(counts.logical_not().logical_or(bad), Kept(0)).reshape(-1, 1); // [BT, 1]
        var flat = logits.reshape(-1, classes); // [BT, C]
        var pieces = new List<Tensor>();
        var step = Math.Max(1, Elements / classes);
        for (long start = 0; start < flat.shape[0]; start += step)
        {
            var rows = Math.Min(step, flat.shape[0] - start);
            pieces.Add(MeasureRows(flat.narrow(0, start, rows), index.narrow(0, start, rows)));
        }

        var measures = cat(pieces, 1).reshape(Rows - 1, batch, positions); // [5, B, T]
        var number = counts.sum(1).to_type(measures.dtype); // [B]
        var means = measures.masked_fill(counts.logical_not(), Kept(0)).sum(2) / number.clamp_min(Kept(1)); // [5, B]
        var state = number.masked_fill(bad.any(1), Kept(OutputMeasures.BadLabel)); // [B]
        return cat([means, state.unsqueeze(0)], 0).MoveToOuterDisposeScope(); // [6, B]
    }

    /// <summary>A measured step as numbers; this waits for the device.</summary>
    /// <param name="packed"><c>[6, B]</c>, as <see cref="Measure"/> gives it.</param>
    /// <param name="measures">Where they go.</param>
    public static void Unpack(Tensor packed, OutputMeasures measures)
    {
        using var scope = NewDisposeScope();
        var batch = (int)packed.shape[1];
        var values = packed.to_type(ScalarType.Float64).cpu().contiguous().reshape(-1).data<double>().ToArray();
        measures.Reset(batch);
        double[][] columns = [measures.Probability, measures.Margin, measures.Loss, measures.El2n, measures.CorrectShare];
        for (var c = 0; c < columns.Length; c++)
        {
            values.AsSpan(c * batch, batch).CopyTo(columns[c]);
        }

        for (var b = 0; b < batch; b++)
        {
            measures.Positions[b] = (int)values[((Rows - 1) * batch) + b];
        }
    }

    private static Tensor MeasureRows(Tensor rows, Tensor index)
    {
        using var scope = NewDisposeScope();
        var logits = rows.dtype == ScalarType.Float64 ? rows : rows.to_type(ScalarType.Float32); // [R, C]
        var gone = full(index.shape, Kept(double.NegativeInfinity), logits.dtype, logits.device);
        var others = logits.scatter(-1, index, gone); // [R, C], class y gone
        var label = logits.gather(-1, index).squeeze(-1); // [R]
        var highest = others.amax([-1], true); // [R, 1]
        var margin = label - highest.squeeze(-1); // [R]
        var relative = others - highest; // [R, C], at most 0
        var d = margin - relative.logsumexp(-1); // [R], log p_y/(1-p_y)
        var el2n = (-d).sigmoid() * (Kept(1) + relative.softmax(-1).Squared().sum(-1)).sqrt(); // [R]
        var right = margin.gt(Kept(0)).to_type(margin.dtype); // [R]
        return stack([d.sigmoid(), margin, -F.logsigmoid(d), el2n, right], 0).MoveToOuterDisposeScope(); // [5, R]
    }
}
