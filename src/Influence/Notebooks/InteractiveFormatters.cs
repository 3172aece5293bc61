using System.Reflection;
using Influence.Display;

namespace Influence.Notebooks;

/// <summary>
/// Registers a table of settings for each public type of this library that has no table or picture of its own: .NET Interactive
/// would print it as a tree of all that it reaches, tensors, models and data included.
/// </summary>
internal static class InteractiveFormatters
{
    private const string Assembly = "Microsoft.DotNet.Interactive.Formatting";
    private static bool s_done;

    /// <summary>Does so where .NET Interactive is loaded; a second call does nothing.</summary>
    public static void Register()
    {
        var formatter = AppDomain
            .CurrentDomain.GetAssemblies()
            .FirstOrDefault(a => a.GetName().Name == Assembly)
            ?.GetType($"{Assembly}.Formatter");
        var register = formatter?.GetMethod(
            "Register",
            BindingFlags.Public | BindingFlags.Static,
            [typeof(Type), typeof(Action<object, TextWriter>), typeof(string)]
        );
        if (s_done || register is null)
        {
            return;
        }

        s_done = true;
        foreach (var type in typeof(InfluenceTask).Assembly.GetExportedTypes().Where(HasNoTable))
        {
            register.Invoke(null, [type, (Action<object, TextWriter>)Write, "text/html"]);
        }
    }

    /// <summary>What is registered for a type serves the types that derive from it, and these may have a table.</summary>
    private static void Write(object shown, TextWriter writer) =>
        writer.Write(shown is IHtml own ? own.ToHtml() : SettingsTable.Of(shown).ToHtml());

    private static bool HasNoTable(Type type) =>
        !type.IsEnum
        && !type.IsInterface
        && !type.ContainsGenericParameters
        && !typeof(IHtml).IsAssignableFrom(type)
        && !typeof(Delegate).IsAssignableFrom(type)
        && !(type.IsAbstract && type.IsSealed)
        && !typeof(Exception).IsAssignableFrom(type);
}
