using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// How each of an example's losses (one a token) changes along a direction of the parameters, d/de l_t(w + e V): with
/// u = 1, h(u) = grad of sum(u l) with respect to w, and then the gradient of h(u) . V with respect to u. Exact, where
/// finite differences are not.
/// </summary>
internal sealed class TokenLossDerivatives(GradientSession session, Func<ExampleBatch, Tensor> tokenLosses)
{
    private readonly List<ModelParameter> _parameters =
    [
        .. session.Parts.SelectMany(parts => parts).Select(p => p.Parameter).DistinctBy(p => p.Storage),
    ];

    /// <summary>The derivatives, <c>[Q, B, T]</c>, in the current scope.</summary>
    /// <param name="batch">Training examples.</param>
    /// <param name="directions">Per block one part a parameter, <c>[Q, P_k]</c>; null where no query reaches the block.</param>
    /// <param name="queries">Q.</param>
    public Tensor Of(ExampleBatch batch, IReadOnlyList<Tensor[]?> directions, long queries)
    {
        HalfPrecision.Refuse(session, "Scores per loss token");
        using var outer = NewDisposeScope();
        using var grad = enable_grad();
        using var managed = session.WithManagedAttention();
        var values = _parameters.Select(p => (Tensor)p.Value).ToList();
        using var unfrozen = RequiresGrad.On(values);
        var losses = Evaluate(batch); // [B, T]
        var u = ones_like(losses).requires_grad_(true);
        var h = GuardedBackward.Gradients([(losses * u).sum()], values, GraphAfter.Extended, ids: batch.Ids);
        if (h.All(gradient => gradient is null))
        {
            throw new InfluenceException(
                "The token losses do not depend on any parameter that takes part. Does their delegate use this model, detach its output, "
                    + "or run under no_grad()?"
            );
        }

        var rows = new List<Tensor>();
        for (long q = 0; q < queries; q++)
        {
            rows.Add(Along(h, Direction(directions, q), u, batch.Ids));
        }

        GC.KeepAlive(values);
        return stack([.. rows], 0).MoveToOuterDisposeScope();
    }

    private static Tensor Along(Tensor?[] gradients, Tensor?[] direction, Tensor u, IReadOnlyList<long> ids)
    {
        using var scope = NewDisposeScope();
        var terms = gradients
            .Zip(direction)
            .Where(p => p.First is { requires_grad: true } && p.Second is not null)
            .Select(p => (p.First!.Strided().reshape(-1) * p.Second!).sum())
            .ToList();
        if (terms.Count == 0)
        {
            return zeros_like(u).MoveToOuterDisposeScope();
        }

        var found = TwiceDifferentiable.Gradients(
            terms.Aggregate((a, b) => a + b),
            [u],
            ids,
            "scores per loss token need",
            "use ScorePositions, which needs first derivatives only",
            GraphAfter.Kept
        );
        var derivative = found[0]?.reshape(u.shape) ?? zeros_like(u); // [B, T]
        return derivative.MoveToOuterDisposeScope();
    }

    /// <summary>One query's direction, parameter by parameter, flat.</summary>
    private Tensor?[] Direction(IReadOnlyList<Tensor[]?> directions, long query)
    {
        var found = new Tensor?[_parameters.Count];
        for (var k = 0; k < directions.Count; k++)
        {
            for (var p = 0; p < (directions[k]?.Length ?? 0); p++)
            {
                var part = session.Parts[k][p];
                var at = _parameters.FindIndex(x => x.Storage == part.Parameter.Storage);
                found[at] ??= zeros([part.Parameter.Count], session.Dtype, session.Device);
                found[at]!.narrow(0, part.Start, part.Count).copy_(directions[k]![p].select(0, query));
            }
        }

        return found;
    }

    private Tensor Evaluate(ExampleBatch batch)
    {
        var losses = TokenLosses.Evaluate(tokenLosses, batch);
        using var noGrad = no_grad();
        TokenLosses.CheckSums(losses, session.Losses.Evaluate(batch, LossKind.Training), session.Dtype);
        return losses;
    }
}
