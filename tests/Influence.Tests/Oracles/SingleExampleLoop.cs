using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Oracles;

/// <summary>
/// The oracle: each example alone through the model, plain backward, every trainable parameter's grad. Knows nothing of
/// the library's hooks and rules.
/// </summary>
internal static class SingleExampleLoop
{
    /// <summary>Gradients of every example, <c>[N, P]</c> in float64; parameters by name, tied ones once.</summary>
    public static Tensor Gradients(nn.Module model, Func<Tensor[], Tensor> loss, Tensor[] inputs, Func<string, bool>? include = null)
    {
        using var scope = NewDisposeScope();
        var rows = new List<Tensor>();
        for (long i = 0; i < inputs[0].shape[0]; i++)
        {
            model.zero_grad();
            var total = loss([.. inputs.Select(t => t.narrow(0, i, 1))]).sum();
            total.backward();
            var parts = new List<Tensor>();
            var seen = new HashSet<nint>();
            foreach (var (name, parameter) in model.named_parameters())
            {
                if (
                    !parameter.requires_grad
                    || (include is not null && !include(name))
                    || !seen.Add(parameter.storage<double>().data_ptr())
                )
                {
                    continue;
                }

                parts.Add(Row(parameter));
            }

            rows.Add(cat([.. parts], 0));
        }

        model.zero_grad();
        return stack([.. rows], 0).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Gradients of every example by parameter, <c>[N, p]</c> in float64, all from one loop; tied parameters under each of their names.
    /// </summary>
    public static Dictionary<string, Tensor> ByParameter(nn.Module model, Func<Tensor[], Tensor> loss, Tensor[] inputs)
    {
        using var scope = NewDisposeScope();
        var rows = new Dictionary<string, List<Tensor>>();
        for (long i = 0; i < inputs[0].shape[0]; i++)
        {
            model.zero_grad();
            loss([.. inputs.Select(t => t.narrow(0, i, 1))]).sum().backward();
            foreach (var (name, parameter) in model.named_parameters().Where(p => p.parameter.requires_grad))
            {
                rows.TryAdd(name, []);
                rows[name].Add(Row(parameter).clone());
            }
        }

        model.zero_grad();
        return rows.ToDictionary(one => one.Key, one => stack([.. one.Value], 0).MoveToOuterDisposeScope());
    }

    /// <summary>Largest difference relative to the largest expected value, or as it is where all of them are zero.</summary>
    public static double RelativeError(Tensor actual, Tensor expected)
    {
        using var scope = NewDisposeScope();
        var wide = actual.to_type(ScalarType.Float64);
        var (difference, scale) = ((wide - expected).abs().max().item<double>(), expected.abs().max().item<double>());
        return difference / (scale == 0 ? 1 : scale);
    }

    private static Tensor Row(Tensor parameter)
    {
        var gradient = parameter.grad;
        return (
            gradient is null ? zeros_like(parameter)
            : gradient.is_sparse ? gradient.to_dense()
            : gradient
        ).detach().reshape(-1).to_type(ScalarType.Float64);
    }
}
