using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>PyTorch's initial values of linear and convolution layers: uniform within <c>1/sqrt(fan-in)</c>.</summary>
internal static class DefaultInit
{
    public static void Fill(Parameter weight, Parameter? bias)
    {
        // The gain of a leaky ReLU of slope sqrt(5) is 1/sqrt(3), which turns Kaiming's bound into 1/sqrt(fan-in).
        nn.init.kaiming_uniform_(weight, Math.Sqrt(5));
        if (bias is not null)
        {
            var (fanIn, _) = nn.init.CalculateFanInAndFanOut(weight);
            var bound = fanIn > 0 ? 1 / Math.Sqrt(fanIn) : 0;
            nn.init.uniform_(bias, -bound, bound);
        }
    }
}
