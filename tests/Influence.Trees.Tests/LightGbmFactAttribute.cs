using System.Reflection;
using System.Runtime.InteropServices;
using Xunit;

namespace Influence.Trees.Tests;

/// <summary>LightGBM's native library, which wants the system's OpenMP (libgomp.so.1, Debian's libgomp1).</summary>
internal static class NativeLightGbm
{
    private static readonly Lazy<bool> s_isThere = new(() =>
        NativeLibrary.TryLoad("lib_lightgbm", Assembly.GetExecutingAssembly(), null, out _)
    );

    /// <summary>Why tests that train models are skipped; null where they are not.</summary>
    public static string? Missing => s_isThere.Value ? null : "LightGBM's native library cannot be loaded here: is libgomp1 installed?";
}

/// <summary>A test that trains models with LightGBM.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class LightGbmFactAttribute : FactAttribute
{
    public LightGbmFactAttribute() => Skip = NativeLightGbm.Missing;
}

/// <summary>The same with cases.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class LightGbmTheoryAttribute : TheoryAttribute
{
    public LightGbmTheoryAttribute() => Skip = NativeLightGbm.Missing;
}
