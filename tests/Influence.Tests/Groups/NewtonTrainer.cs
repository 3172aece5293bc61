using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Tests.Groups;

/// <summary>
/// Trains small models to an optimum by damped Newton steps with the Hessian by autograd: retraining that leaves no doubt where it
/// ends. Shares no code with what it tests.
/// </summary>
internal static class NewtonTrainer
{
    /// <summary>Minimises the loss from the present weights until its gradient is below 1e-9.</summary>
    /// <returns>The norm of the gradient.</returns>
    public static double Train(nn.Module model, Func<Tensor> loss)
    {
        var (damping, norm) = (1e-3, double.MaxValue);
        for (var step = 0; step < 300 && norm > 1e-9; step++)
        {
            using var scope = NewDisposeScope();
            Parameter[] parameters = [.. model.parameters()];
            var value = loss();
            var gradient = Flat(autograd.grad([value], parameters, retain_graph: true, create_graph: true, allow_unused: true)); // [P]
            var rows = new List<Tensor>();
            for (long i = 0; i < gradient.shape[0]; i++)
            {
                rows.Add(Flat(autograd.grad([gradient.select(0, i)], parameters, retain_graph: true, allow_unused: true)));
            }

            using var noGrad = no_grad();
            norm = gradient.norm().item<double>();
            var (values, vectors) = linalg.eigh(stack([.. rows], 0));
            var (before, now) = (parameters.Select(p => p.detach().clone()).ToArray(), value.item<double>());
            for (var attempt = 0; attempt < 30; attempt++)
            {
                // Away from a minimum a negative eigenvalue is taken for its magnitude.
                var move = -vectors.mv(vectors.t().mv(gradient.detach()) / (values.abs() + damping));
                Move(parameters, before, move);
                if (loss().item<double>() <= now + 1e-15)
                {
                    damping = Math.Max(damping / 10, 1e-12);
                    break;
                }

                damping *= 10;
            }
        }

        return norm;
    }

    private static void Move(Parameter[] parameters, Tensor[] before, Tensor move)
    {
        long at = 0;
        for (var k = 0; k < parameters.Length; k++)
        {
            parameters[k].copy_(before[k] + move.narrow(0, at, parameters[k].numel()).reshape(parameters[k].shape));
            at += parameters[k].numel();
        }
    }

    private static Tensor Flat(IList<Tensor> gradients) => cat([.. gradients.Select(g => g.reshape(-1))], 0);
}
