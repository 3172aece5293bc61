using System.Reflection;
using System.Runtime.InteropServices;

namespace TorchSharp.Interop;

/// <summary>Loads the native library from beside the assembly, after the set-up of memory and threads that must come first.</summary>
internal static class NativeLoader
{
    public const string LibraryName = "influence_torch_native";

    public static void Prepare()
    {
        AllocatorSetup.Apply();
        ThreadSetup.BeforeLoad();
        NativeLibrary.SetDllImportResolver(typeof(NativeLoader).Assembly, Resolve);
        ThreadSetup.AfterLoad();
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath)
    {
        if (name != LibraryName)
        {
            return 0;
        }

        var file = $"lib{LibraryName}.so";
        var beside = Path.Combine(AppContext.BaseDirectory, file);
        if (!File.Exists(beside) && Path.GetDirectoryName(assembly.Location) is { Length: > 0 } folder)
        {
            beside = Path.Combine(folder, file);
        }

        return NativeLibrary.Load(beside);
    }
}
