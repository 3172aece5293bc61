using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>How a closed module takes its parameters: under native names with dots, which no child stands behind.</summary>
internal static class NativeParameters
{
    public static void RegisterNative(this nn.Module module, string name, Tensor value)
    {
        var parameter = nn.Parameter(value);
        parameter.DetachFromDisposeScope();
        module.register_parameter(name, parameter);
    }
}
