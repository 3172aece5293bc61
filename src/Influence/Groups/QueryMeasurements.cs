using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>The mean measurement of each query group, at the model's weights and at others near by.</summary>
internal sealed class QueryMeasurements(
    GradientSession session,
    ParameterVector layout,
    Examples queries,
    GroupPlan rows,
    CancellationToken token
)
{
    /// <summary>The means, n of them; finite.</summary>
    public double[] Values() => Means(finite: true);

    /// <summary>The means with the parameters moved by a vector <c>[P]</c>; they are put back as they were. What is too far off is NaN or
    /// infinite.</summary>
    public double[] ValuesAt(Tensor step)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var values = layout.Values();
        var before = values.Select(value => value.detach().clone()).ToArray();
        try
        {
            layout.Move(values, step);
            return Means(finite: false);
        }
        finally
        {
            foreach (var (value, old) in values.Zip(before))
            {
                value.copy_(old);
            }
        }
    }

    private double[] Means(bool finite)
    {
        using var noGrad = no_grad();
        var values = new List<double>(queries.Count);
        foreach (var batch in queries.Batches())
        {
            token.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            values.AddRange(
                session.Losses.Evaluate(batch, LossKind.Measurement, finite).cpu().to_type(ScalarType.Float64).data<double>().ToArray()
            );
        }

        return [.. rows.Slots.Select(slot => slot.Positions.Average(position => values[position]))];
    }
}
