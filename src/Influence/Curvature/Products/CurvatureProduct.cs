using Influence.Gradients;
using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// Products of the curvature of the mean training loss with vectors, (1/N) sum over examples of H_i v, without the matrix. A
/// batch's forward and first backward pass serve all vectors; memory is that of one batch.
/// </summary>
/// <param name="session">An open session; its hooks stay idle.</param>
/// <param name="layout">The order of the parameters in a vector.</param>
internal abstract class CurvatureProduct(GradientSession session, ParameterVector layout)
{
    /// <summary>The session's model and loss.</summary>
    protected GradientSession Session => session;

    /// <summary>The order of the parameters in a vector.</summary>
    public ParameterVector Layout => layout;

    public abstract string Name { get; }

    public static CurvatureProduct Of(CurvatureMatrix matrix, GradientSession session, ParameterVector layout)
    {
        HalfPrecision.Refuse(session, "Products with the Hessian and the Gauss-Newton matrix");
        return matrix == CurvatureMatrix.Hessian ? new HessianProduct(session, layout) : new GaussNewtonProduct(session, layout);
    }

    /// <summary>The product with the mean over all examples.</summary>
    /// <param name="train">N examples.</param>
    /// <param name="vectors"><c>[K, P]</c>, in the model's dtype and on its device.</param>
    /// <param name="token">Checked between batches and vectors.</param>
    /// <param name="progress">Told the number of examples of each batch.</param>
    /// <returns><c>[K, P]</c>, in the current scope.</returns>
    public Tensor Over(Examples train, Tensor vectors, CancellationToken token, Action<int>? progress = null)
    {
        var sum = zeros_like(vectors); // [K, P]
        foreach (var batch in session.Batches(train, LossKind.Training))
        {
            Add(batch, vectors, sum, token);
            progress?.Invoke(batch.Count);
        }

        return sum.div_(Kept(train.Count));
    }

    /// <summary>The product with the mean over one batch.</summary>
    public Tensor Over(ExampleBatch batch, Tensor vectors, CancellationToken token)
    {
        var sum = zeros_like(vectors); // [K, P]
        Add(batch, vectors, sum, token);
        return sum.div_(Kept(batch.Count));
    }

    /// <summary>Adds the products with the sum over a batch's examples.</summary>
    /// <param name="batch">Examples.</param>
    /// <param name="vectors"><c>[K, P]</c>.</param>
    /// <param name="sum"><c>[K, P]</c>, added to in place.</param>
    /// <param name="token">Checked before each vector.</param>
    public void Add(ExampleBatch batch, Tensor vectors, Tensor sum, CancellationToken token)
    {
        token.ThrowIfCancellationRequested();
        using var scope = NewDisposeScope();
        using var grad = enable_grad();
        using var managed = session.WithManagedAttention();
        var values = layout.Values();
        using var unfrozen = RequiresGrad.On(values);
        if (Linearize(batch, values) is not { } multiply)
        {
            return;
        }

        for (long k = 0; k < vectors.shape[0]; k++)
        {
            token.ThrowIfCancellationRequested();
            using var one = NewDisposeScope();
            var product = multiply(vectors.select(0, k)); // [P]
            if (!(product * Kept(0)).sum().eq(Kept(0)).item<bool>())
            {
                ThrowNotFinite(batch, values, vectors.select(0, k));
            }

            sum.select(0, k).add_(product);
        }

        GC.KeepAlive(values);
    }

    /// <summary>Multiplies on the first example, so that what cannot work fails before anything else runs.</summary>
    public void Try(Examples train)
    {
        if (session.Task.PositionMask is not null)
        {
            throw new InfluenceException(
                $"Products with the {Name} follow the loss as it is, which knows no PositionMask. Mask inside the model or the loss, and "
                    + "leave PositionMask out."
            );
        }

        foreach (var batch in train.Batches().Take(1))
        {
            using var scope = NewDisposeScope();
            using var grad = enable_grad();
            using var managed = session.WithManagedAttention();
            var values = layout.Values();
            using var unfrozen = RequiresGrad.On(values);
            Probe(batch.Pick([0]), values, Vector());
        }

        Tensor Vector() => ones([layout.Length], layout.Dtype, layout.Device);
    }

    /// <summary>What maps v <c>[P]</c> to the sum over the batch's examples of H_i v <c>[P]</c>; null where that is zero.</summary>
    protected abstract Func<Tensor, Tensor>? Linearize(ExampleBatch batch, Parameter[] values);

    /// <summary>Differentiates twice where an error can be caught, and multiplies once.</summary>
    private void Probe(ExampleBatch one, Parameter[] values, Tensor vector)
    {
        var losses = session.Losses.Evaluate(one, LossKind.Training).sum();
        var first = losses.requires_grad
            ? layout.Gather(GuardedBackward.Gradients([losses], values, GraphAfter.Extended, ids: one.Ids))
            : null;
        if (first is { requires_grad: true })
        {
            TwiceDifferentiable.Gradients(
                first.sum(),
                values,
                one.Ids,
                $"products with the {Name} need",
                "use EK-FAC, which needs first derivatives only"
            );
        }

        Linearize(one, values)?.Invoke(vector);
    }

    private void ThrowNotFinite(ExampleBatch batch, Parameter[] values, Tensor vector)
    {
        var bad = new List<long>();
        for (var i = 0; i < batch.Count; i++)
        {
            using var scope = NewDisposeScope();
            if (Linearize(batch.Pick([i]), values)?.Invoke(vector) is { } product && !(product * Kept(0)).sum().eq(Kept(0)).item<bool>())
            {
                bad.Add(batch.Ids[i]);
            }
        }

        throw new InfluenceException(
            $"The {Name} of the training examples with ids {InfluenceException.List(bad.Count > 0 ? bad : batch.Ids)} is NaN or too "
                + $"large for {layout.Dtype}, though their losses are finite. Look at their inputs, leave them out, or use a float64 "
                + "model."
        )
        {
            ExampleIds = bad.Count > 0 ? bad : batch.Ids,
        };
    }
}
