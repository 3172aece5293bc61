using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Influence.Tests;

/// <summary>
/// On some processors libtorch's kernels for float32 convolutions have wrong gradients, which the library notices and says. Tests of
/// exactness are about our arithmetic: they take kernels that are right everywhere.
/// </summary>
internal static partial class ProcessorSettings
{
    [ModuleInitializer]
    internal static void Set()
    {
        // .NET's own environment does not reach libtorch, which reads the process's when it is loaded.
        if (OperatingSystem.IsLinux())
        {
            _ = SetVariable("ONEDNN_MAX_CPU_ISA", "AVX", 0);
        }
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int SetVariable(string name, string value, int overwrite);
}
