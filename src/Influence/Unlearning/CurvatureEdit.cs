using System.Diagnostics;
using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Unlearning;

/// <summary>
/// Takes out of a model what only few examples use: each layer's weight is written in the eigenbasis of its K-FAC curvature, and only the
/// coordinates of high curvature stay, which many examples share. With A and G the covariances of inputs and output gradients, their
/// eigenvectors Q and eigenvalues a and g,
/// <code>W' = Q_G (M o (Q_G' W Q_A)) Q_A',   M keeps the smallest set of pairs with sum g_i a_j of at least the kept mass</code>
/// </summary>
/// <remarks>
/// No example is named: it lowers what was memorised word for word, and may cost facts along with it. A layer's bias counts as one more
/// input, as in the fit (the published code leaves biases out), and the whole of a mean's curvature is used, positions included. Layers
/// without a Kronecker factored curvature (norms, embeddings) stay as they are. Pairs of equal curvature: the one of the earlier output,
/// then input, first. Cost: two products of the factors with each weight and a sort of its elements; the fit is the cost. Reference:
/// Merullo et al., "From Memorization to Reasoning in the Spectrum of Loss Curvature", 2025, which takes the data's own labels: <c>new
/// Kfac.Options { Fisher = Fisher.Empirical }</c>.
/// </remarks>
public sealed record CurvatureEdit
{
    /// <summary>The share of the curvature's sum that is kept, rho; at 1 a layer is left as it is.</summary>
    /// <value>0.8.</value>
    /// <exception cref="InfluenceException">Not above 0, or above 1.</exception>
    public double KeptMass
    {
        get;
        init => field = Check.PositiveShare(value);
    } = 0.8;

    /// <summary>Which of the fit's layers are edited, by parameter name; the paper takes the MLPs of some blocks.</summary>
    /// <value>All.</value>
    public LayerSelection Layers { get; init; } = LayerSelection.All;

    /// <summary>Edits.</summary>
    /// <param name="task">The model at the weights of the fit; it is left as it was found.</param>
    /// <param name="train">The examples of the fit, from which the session is opened.</param>
    /// <param name="kfac">The fit.</param>
    /// <param name="cancellationToken">Checked between layers.</param>
    /// <returns>The new weights, with the share of pairs that each layer kept in its notes; dispose them.</returns>
    /// <exception cref="InfluenceException">The fit is of other weights, or no layer of it can be edited.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public UnlearningMethod.Result Apply(InfluenceTask task, Examples train, Kfac kfac, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(kfac);
        ExampleChecks.Run(task, (train, "training examples"));
        var watch = Stopwatch.StartNew();
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var kept = new KeptState(task.Model);
        var notes = new List<string>();
        double moved = 0;
        using (var session = GradientSession.Open(task, train, queries: null))
        {
            kfac.CheckWeights(session);
            for (var k = 0; k < kfac.Blocks.Count; k++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (
                    kfac.Blocks[k] is KroneckerCurvature curvature
                    && session.Parts[k].All(part => part.Rows is null && Layers.Includes(part.Parameter.Name))
                    && session.Parts[k].Count <= 2
                )
                {
                    moved += Edit(session.Parts[k], curvature, notes);
                }
            }
        }

        return notes.Count > 0
            ? UnlearningMethod.Result.Of(
                task.Model,
                string.Create(CultureInfo.InvariantCulture, $"K-FAC edit, kept mass {KeptMass:0.###}"),
                notes,
                Math.Sqrt(moved),
                (double.NaN, double.NaN),
                (double.NaN, double.NaN),
                watch.Elapsed
            )
            : throw new InfluenceException(
                "No layer of the fit has a Kronecker factored curvature and is chosen by Layers: choose linear layers or convolutions."
            );
    }

    /// <summary>The kept pairs <c>[O, I]</c>: the smallest set whose products sum to the share of their total.</summary>
    internal static Tensor Kept(Tensor output, Tensor input, double mass)
    {
        using var scope = NewDisposeScope();
        var products = output.unsqueeze(1) * input.unsqueeze(0); // [O, I]
        var values = products.reshape(-1).data<double>().ToArray();
        var (total, sum, mask) = (values.Sum(), 0.0, new bool[values.Length]);
        foreach (var at in Enumerable.Range(0, values.Length).OrderByDescending(i => values[i]))
        {
            if (sum >= mass * total && total > 0)
            {
                break;
            }

            mask[at] = true;
            sum += values[at];
        }

        return tensor(mask).reshape(products.shape).MoveToOuterDisposeScope();
    }

    /// <returns>The squared length of the change.</returns>
    private double Edit(IReadOnlyList<ParameterPart> parts, KroneckerCurvature curvature, List<string> notes)
    {
        using var scope = NewDisposeScope();
        Parameter[] values = [.. parts.Select(part => part.Parameter.Value)];
        var rows = curvature.Output.Size;
        var weight = cat([.. values.Select(value => value.detach().reshape(rows, -1))], 1); // [O, I]
        if (weight.shape[1] != curvature.Input.Size)
        {
            return 0;
        }

        var name = string.Join(", ", parts.Select(part => part.Name));
        if (KeptMass >= 1)
        {
            notes.Add($"{name}: kept whole");
            return 0;
        }

        var mask = Kept(curvature.Output.Values, curvature.Input.Values, KeptMass); // [O, I]
        var coordinates = curvature.Output.Rotate(curvature.Input.Rotate(weight).t()).t(); // [O, I]
        // [O, I]
        var edited = curvature.Input.RotateBack(
            curvature.Output.RotateBack((coordinates * mask.to(weight.device).to_type(weight.dtype)).t()).t()
        );
        notes.Add(string.Create(CultureInfo.InvariantCulture, $"{name}: {mask.sum().item<long>():N0} of {mask.numel():N0} pairs kept"));
        long at = 0;
        foreach (var value in values)
        {
            var width = value.numel() / rows;
            value.detach().copy_(edited.narrow(1, at, width).reshape(value.shape));
            at += width;
        }

        return (edited - weight).to_type(ScalarType.Float64).Squared().sum().cpu().item<double>();
    }
}
