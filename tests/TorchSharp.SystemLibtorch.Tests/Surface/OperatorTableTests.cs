using System.Reflection;

namespace TorchSharp.SystemLibtorch.Tests.Surface;

/// <summary>Every operator that the binding may ever call exists in the libtorch it was loaded with.</summary>
public class OperatorTableTests
{
    [Fact]
    public void Every_declared_operator_exists()
    {
        var assembly = typeof(torch).Assembly;
        if (assembly.GetType("TorchSharp.Interop.Operator") is not { } kind)
        {
            return; // The real TorchSharp: it has no such table.
        }

        var find = kind.GetMethod("Find", BindingFlags.Instance | BindingFlags.NonPublic)!;
        var failures = new List<string>();
        var found = 0;
        foreach (var op in assembly.GetTypes().SelectMany(Operators))
        {
            try
            {
                find.Invoke(op, null);
                found++;
            }
            catch (TargetInvocationException e)
            {
                failures.Add(e.InnerException!.Message);
            }
        }

        Assert.Empty(failures);
        // The table holds nearly 300 operators; far fewer would mean that this test no longer finds them.
        Assert.True(found > 250);

        IEnumerable<object> Operators(Type type) => type.ContainsGenericParameters
            ? []
            : type.GetFields(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
                .Where(field => field.FieldType == kind).Select(field => field.GetValue(null)!);
    }
}
