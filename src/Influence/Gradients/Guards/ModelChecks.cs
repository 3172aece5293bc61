using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>What a model must be before anything is run through it; every refusal names the line to write instead.</summary>
internal static class ModelChecks
{
    public static void Run(nn.Module model, IReadOnlyList<ModelParameter> trainable)
    {
        if (trainable.Count == 0)
        {
            throw new InfluenceException(
                "The model has no trainable parameter: none has requires_grad set. Write foreach (var p in model.parameters()) p.requires_grad = true; or check that its layers are registered (RegisterComponents()).");
        }

        var mixing = ModelParameter.Modules(model)
            .Where(m => m.Module is BatchNorm { track_running_stats: false })
            .Select(m => $"{(m.Path.Length == 0 ? "the model" : m.Path)} ({m.Module.GetName()})")
            .ToList();
        if (mixing.Count > 0)
        {
            throw new InfluenceException(
                $"Without running statistics a BatchNorm mixes the examples of a batch in evaluation mode too: {InfluenceException.List(mixing)}. " +
                "Write track_running_stats: true, or use GroupNorm or LayerNorm.");
        }

        var random = ModelParameter.Modules(model)
            .Where(m => m.Module.training && MixesOrIsRandom(m.Module))
            .Select(m => $"{(m.Path.Length == 0 ? "the model" : m.Path)} ({m.Module.GetName()})")
            .ToList();
        if (random.Count > 0)
        {
            throw new InfluenceException(
                $"In training mode these modules are random or mix the examples of a batch: {InfluenceException.List(random)}. Write model.eval() first.");
        }

        var first = trainable[0].Value;
        var odd = trainable.Where(p => p.Value.dtype != first.dtype || p.Value.device_type != first.device_type || p.Value.device_index != first.device_index).ToList();
        if (odd.Count > 0)
        {
            throw new InfluenceException(
                $"The model's parameters differ in dtype or device: {trainable[0].Name} is {first.dtype} on {first.device}, " +
                $"but {InfluenceException.List([.. odd.Select(p => $"{p.Name} {p.Value.dtype} on {p.Value.device}")])}. Write model.to(device) and model.to(dtype).");
        }
    }

    /// <summary>Whether a module mixes the examples of a batch in training mode.</summary>
    public static bool Mixes(nn.Module module) => module is BatchNorm;

    /// <summary>Whether training mode is another than evaluation mode.</summary>
    public static bool MixesOrIsRandom(nn.Module module) => Mixes(module) || IsRandom(module) || module is InstanceNorm;

    /// <summary>Whether a module draws random numbers in training mode.</summary>
    public static bool IsRandom(nn.Module module) => module
        is Dropout or Dropout1d or Dropout2d or Dropout3d or AlphaDropout or FeatureAlphaDropout or RReLU
        or TransformerEncoderLayer or TransformerDecoderLayer or TransformerEncoder or TransformerDecoder or Transformer;
}
