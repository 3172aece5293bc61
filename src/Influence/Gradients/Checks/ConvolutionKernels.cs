using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Whether this machine's float32 convolutions have right gradients. On some processors (seen on AMD EPYC with AVX-512 and libtorch 2.10)
/// the kernels that libtorch takes for batches of more than one example give a wrong gradient to a convolution's input where the output
/// channels are no multiple of sixteen: a plain training step is wrong there too, and differently in each run. So it is tried, once a
/// process, on a few convolutions of a few hundred numbers, against float64.
/// </summary>
internal static class ConvolutionKernels
{
    public const string Note =
        "libtorch's float32 gradients of convolutions are wrong on this processor, in training as well as here: start the process with "
        + "the environment variable ONEDNN_MAX_CPU_ISA=AVX, or use float64";

    private const int Rounds = 6;
    private static readonly (int Inputs, int Outputs)[] s_channels = [(1, 4), (3, 4), (4, 4), (8, 8)];
    private static readonly Lazy<bool> s_areWrong = new(() =>
        Enumerable.Range(0, Rounds).Any(_ => s_channels.Any(c => IsWrong(c.Inputs, c.Outputs)))
    );

    /// <summary>What to say of a task whose convolutions run in this type on this device; null where they are right.</summary>
    public static string? Fault(ScalarType dtype, DeviceType device) =>
        dtype == ScalarType.Float32 && device == DeviceType.CPU && s_areWrong.Value ? Note : null;

    private static bool IsWrong(int inputs, int outputs)
    {
        using var scope = NewDisposeScope();
        var (x, weight, along) = (Wave(3, inputs, 4, 4), Wave(outputs, inputs, 3, 3), Wave(3, outputs, 4, 4));
        var (single, precise) = (Gradient(x, weight, along, ScalarType.Float32), Gradient(x, weight, along, ScalarType.Float64));
        return !((single - precise).abs().max() <= Kept(1e-3) * precise.abs().max()).item<bool>();
    }

    private static Tensor Gradient(Tensor x, Tensor weight, Tensor along, ScalarType dtype)
    {
        using var grad = enable_grad();
        var input = x.to_type(dtype).requires_grad_(true); // [3, I, 4, 4]
        var output = nn.functional.conv2d(input, weight.to_type(dtype), padding: [1, 1]); // [3, O, 4, 4]
        return GuardedBackward.Gradients([output], [input], along: [along.to_type(dtype)])[0]!.to_type(ScalarType.Float64);
    }

    /// <summary>Numbers without a pattern that takes nothing from the caller's random generator.</summary>
    private static Tensor Wave(params long[] shape) =>
        (arange(Kept(shape.Aggregate(1L, (a, b) => a * b)), ScalarType.Float64) * Kept(1.7)).sin().reshape(shape);
}
