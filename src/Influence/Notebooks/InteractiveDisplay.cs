using System.Reflection;

namespace Influence.Notebooks;

/// <summary>A display of .NET Interactive that is updated in place, by the names of its types.</summary>
/// <remarks>
/// <c>display(x)</c> raises its event with one object and returns another with an id of its own. The context's own method, an
/// extension that takes the context, returns the object that it published.
/// </remarks>
internal static class InteractiveDisplay
{
    private const string Assembly = "Microsoft.DotNet.Interactive";
    private static readonly string[] s_mimeTypes = ["text/html"];

    /// <summary>Shows a value below the running cell, as HTML.</summary>
    /// <returns>What replaces it; null where no cell of .NET Interactive runs.</returns>
    public static Action<InfluenceProgress>? Show(InfluenceProgress value)
    {
        var engine = AppDomain.CurrentDomain.GetAssemblies().FirstOrDefault(a => a.GetName().Name == Assembly);
        var contextType = engine?.GetType($"{Assembly}.KernelInvocationContext");
        var context = contextType?.GetProperty("Current", BindingFlags.Public | BindingFlags.Static)?.GetValue(null);
        if (context is null)
        {
            return null;
        }

        var display = engine!
            .GetType($"{Assembly}.KernelInvocationContextExtensions")
            ?.GetMethod("Display", BindingFlags.Public | BindingFlags.Static, [contextType!, typeof(object), typeof(string[])]);
        var shown = display?.Invoke(null, [context, value, s_mimeTypes]);
        var update = shown?.GetType().GetMethod("Update", [typeof(object)]);
        return update is null ? null : next => update.Invoke(shown, [next]);
    }
}
