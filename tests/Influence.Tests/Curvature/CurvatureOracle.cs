using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Curvature without the library: central differences of plain gradients, and J' B J from rows of J.</summary>
internal static class CurvatureOracle
{
    // Central differences are off by step^2 times a fourth derivative (1e-10 here) and by 1e-16/step of rounding (1e-11).
    public const double Step = 1e-5;

    /// <summary>The Hessian of the mean loss times v: the change of the gradient along v. Parameters in the order of the parts.</summary>
    public static Tensor HessianTimes(ModelCase made, Tensor[] inputs, IReadOnlyList<ParameterPart> parts, Tensor v, double step = Step)
    {
        using var scope = NewDisposeScope();
        Move(step);
        var ahead = MeanGradient(made, inputs, parts);
        Move(-2 * step);
        var behind = MeanGradient(made, inputs, parts);
        Move(step);
        return ((ahead - behind) / (2 * step)).MoveToOuterDisposeScope();

        void Move(double by)
        {
            using var noGrad = no_grad();
            long at = 0;
            foreach (var part in parts)
            {
                made.Model.get_parameter(part.Parameter.Name)!
                    .view(-1)
                    .narrow(0, part.Start, part.Count)
                    .add_(v.narrow(0, at, part.Count), by);
                at += part.Count;
            }
        }
    }

    public static Tensor Hessian(ModelCase made, Tensor[] inputs, IReadOnlyList<ParameterPart> parts)
    {
        var unit = eye(parts.Sum(part => part.Count), dtype: float64);
        return stack([.. Enumerable.Range(0, (int)unit.shape[0]).Select(k => HessianTimes(made, inputs, parts, unit.select(0, k)))], 0);
    }

    /// <summary>The Gauss-Newton matrix of a mean loss over outputs <c>[N, C]</c>: each row of J by backward, B given.</summary>
    /// <param name="made">The model.</param>
    /// <param name="outputs">The outputs that the loss is a function of.</param>
    /// <param name="parts">The parameters in order.</param>
    /// <param name="b">The loss's Hessian in one example's outputs, <c>[C, C]</c>.</param>
    public static Tensor GaussNewton(ModelCase made, Tensor outputs, IReadOnlyList<ParameterPart> parts, Func<Tensor, Tensor> b)
    {
        var rows = new List<Tensor>();
        for (long i = 0; i < outputs.shape[0]; i++)
        {
            for (long c = 0; c < outputs.shape[1]; c++)
            {
                made.Model.zero_grad();
                outputs[i, c].backward(retain_graph: true);
                rows.Add(Gradient(made, parts));
            }
        }

        made.Model.zero_grad();
        var j = stack([.. rows], 0).reshape(outputs.shape[0], outputs.shape[1], -1); // [N, C, P]
        var sum = zeros([j.shape[2], j.shape[2]], dtype: float64);
        for (long i = 0; i < outputs.shape[0]; i++)
        {
            sum.add_(j[i].t().mm(b(outputs[i].detach())).mm(j[i]));
        }

        return sum / outputs.shape[0];
    }

    /// <summary>The gradients of each example, <c>[N, P]</c>, parameters in the order of the parts.</summary>
    public static Tensor Gradients(ModelCase made, Tensor[] inputs, IReadOnlyList<ParameterPart> parts) =>
        stack(
            [
                .. Enumerable
                    .Range(0, (int)inputs[0].shape[0])
                    .Select(i => MeanGradient(made, [.. inputs.Select(t => t.narrow(0, i, 1))], parts)),
            ],
            0
        );

    private static Tensor MeanGradient(ModelCase made, Tensor[] inputs, IReadOnlyList<ParameterPart> parts)
    {
        made.Model.zero_grad();
        var loss = made.Loss(inputs).mean();
        if (loss.requires_grad)
        {
            loss.backward();
        }

        var gradient = Gradient(made, parts);
        made.Model.zero_grad();
        return gradient;
    }

    private static Tensor Gradient(ModelCase made, IReadOnlyList<ParameterPart> parts) =>
        cat(
            [
                .. parts.Select(part =>
                {
                    var parameter = made.Model.get_parameter(part.Parameter.Name)!;
                    var gradient = parameter.grad is { } grad
                        ? (grad.is_sparse ? grad.to_dense() : grad).detach().clone()
                        : zeros_like(parameter).detach();
                    return gradient.reshape(-1).narrow(0, part.Start, part.Count);
                }),
            ],
            0
        );
}
