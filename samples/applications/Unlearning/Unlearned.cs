using Influence.Unlearning;
using TorchSharp;
using static TorchSharp.torch;

namespace UnlearningSample;

/// <summary>A model at weights that are not its own.</summary>
internal static class Unlearned
{
    /// <summary>Does something at unlearned weights, or at the model's own where there are none, and puts these back.</summary>
    public static void At(nn.Module model, UnlearningMethod.Result? weights, Action act)
    {
        var own = model.state_dict().ToDictionary(pair => pair.Key, pair => pair.Value.detach().clone());
        try
        {
            weights?.LoadInto(model);
            act();
        }
        finally
        {
            using var noGrad = no_grad();
            foreach (var (name, value) in model.state_dict())
            {
                value.copy_(own[name]);
                own[name].Dispose();
            }
        }
    }
}
