using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Oracles;

/// <summary>The oracle of training: what backward leaves in every parameter's grad.</summary>
internal static class PlainBackward
{
    /// <summary>The gradient of a loss, by name, after an empty start, zero where it depends on no parameter; the model's grads are then
    /// cleared.</summary>
    public static Dictionary<string, Tensor> Of(nn.Module model, Func<Tensor> loss)
    {
        model.zero_grad();
        var total = loss();
        if (total.requires_grad)
        {
            total.backward();
        }

        return Take(model);
    }

    /// <summary>Copies of every grad by name, zeros where there is none; the model's grads are then cleared.</summary>
    public static Dictionary<string, Tensor> Take(nn.Module model)
    {
        var found = model
            .named_parameters()
            .ToDictionary(
                p => p.name,
                p => p.parameter.grad is { } grad ? (grad.is_sparse ? grad.to_dense() : grad).clone() : zeros_like(p.parameter).detach()
            );
        model.zero_grad();
        return found;
    }

    /// <summary>The largest difference over all parameters, relative to the largest expected value.</summary>
    public static double RelativeError(Dictionary<string, Tensor> actual, Dictionary<string, Tensor> expected)
    {
        var scale = expected.Values.Max(t => t.abs().max().to_type(ScalarType.Float64).item<double>());
        return expected.Max(pair => (actual[pair.Key] - pair.Value).abs().max().to_type(ScalarType.Float64).item<double>())
            / (scale == 0 ? 1 : scale);
    }
}
