using System.Runtime.InteropServices;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>What a model must be before anything is run through it; every refusal names the line to write instead.</summary>
internal static class ModelChecks
{
    public static void Run(nn.Module model, IReadOnlyList<ModelParameter> parameters)
    {
        if (parameters.Count == 0)
        {
            throw new InfluenceException(
                "The model has no trainable parameter: none has requires_grad set. Write foreach (var p in model.parameters()) "
                    + "p.requires_grad = true; or check that its layers are registered (RegisterComponents())."
            );
        }

        var mixing = ModelParameter
            .Modules(model)
            .Where(m => m.Module is BatchNorm { track_running_stats: false })
            .Select(m => $"{(m.Path.Length == 0 ? "the model" : m.Path)} ({ModelParameter.KindOf(m.Module)})")
            .ToList();
        if (mixing.Count > 0)
        {
            throw new InfluenceException(
                "Without running statistics a BatchNorm mixes the examples of a batch in evaluation mode too: "
                    + $"{InfluenceException.List(mixing)}. Write track_running_stats: true, or use GroupNorm or LayerNorm."
            );
        }

        var random = ModelParameter
            .Modules(model)
            .Where(m => m.Module.training && MixesOrIsRandom(m.Module))
            .Select(m => $"{(m.Path.Length == 0 ? "the model" : m.Path)} ({ModelParameter.KindOf(m.Module)})")
            .ToList();
        if (random.Count > 0)
        {
            throw new InfluenceException(
                $"In training mode these modules are random or mix the examples of a batch: {InfluenceException.List(random)}. Write "
                    + "model.eval() first."
            );
        }

        var first = parameters[0].Value;
        var odd = parameters
            .Where(p =>
                p.Value.dtype != first.dtype || p.Value.device_type != first.device_type || p.Value.device_index != first.device_index
            )
            .ToList();
        if (odd.Count > 0)
        {
            throw new InfluenceException(
                $"The parameters that are scored differ in dtype or device: {parameters[0].Name} is {first.dtype} on {first.device}, "
                    + $"but {InfluenceException.List([.. odd.Select(p => $"{p.Name} {p.Value.dtype} on {p.Value.device}")])}. Write "
                    + "model.to(device) and model.to(dtype), or choose those of one kind by InfluenceTask.Layers."
            );
        }
    }

    /// <summary>Autograd takes no tensor that was made under inference_mode, and none at all within it.</summary>
    public static void CheckInference(IReadOnlyList<ModelParameter> parameters)
    {
        if (is_inference_mode_enabled())
        {
            throw new InfluenceException(
                "Gradients cannot be taken within torch.inference_mode(). Call outside of it; torch.no_grad() does not disturb."
            );
        }

        foreach (var parameter in parameters.Where(p => p.Value.requires_grad))
        {
            try
            {
                // Setting what is set already changes nothing, and is refused for such a tensor alone.
                parameter.Value.requires_grad = true;
            }
            catch (ExternalException exception)
            {
                throw new InfluenceException(
                    $"{parameter.Name} was made under torch.inference_mode(), where autograd cannot follow. Make the model outside of it "
                        + "and load its weights there.",
                    exception
                );
            }
        }
    }

    /// <summary>Whether a module mixes the examples of a batch in training mode.</summary>
    public static bool Mixes(nn.Module module) => module is BatchNorm;

    /// <summary>Whether training mode is another than evaluation mode.</summary>
    public static bool MixesOrIsRandom(nn.Module module) => Mixes(module) || IsRandom(module) || module is InstanceNorm;

    /// <summary>Whether a module draws random numbers in training mode.</summary>
    public static bool IsRandom(nn.Module module) =>
        module
            is Dropout
                or Dropout1d
                or Dropout2d
                or Dropout3d
                or AlphaDropout
                or FeatureAlphaDropout
                or RReLU
                or TransformerEncoderLayer
                or TransformerDecoderLayer
                or TransformerEncoder
                or TransformerDecoder
                or Transformer;
}
