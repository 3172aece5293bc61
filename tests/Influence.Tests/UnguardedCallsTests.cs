using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using Xunit;

namespace Influence.Tests;

/// <summary>
/// TorchSharp's entries into libtorch that no exception leaves: an error in them ends the process. The library calls none of
/// them but where what goes in is its own.
/// </summary>
public class UnguardedCallsTests
{
    // By type and method; backward is guarded, but its message says nothing of the batch.
    private static readonly HashSet<string> s_refused =
    [
        "autograd.grad",
        "autograd.backward",
        "Tensor.backward",
        "Tensor.matmul",
        "torch.matmul",
        "Tensor.cummax",
        "torch.cummax",
        "Tensor.cummin",
        "torch.cummin",
        "jit.load",
        "jit.compile",
    ];

    // The texts that are compiled are constants.
    private static readonly HashSet<string> s_allowed =
    [
        "GuardedBackward: autograd.backward",
        "GuardedBackward: jit.compile",
        "WriteCounts: jit.compile",
    ];

    [Fact]
    public void TheLibraryCallsNoneButInTheGuard()
    {
        var found = Calls(typeof(InfluenceTask).Assembly.Location).ToHashSet();
        Assert.Subset(s_allowed, found);
        Assert.Subset(found, s_allowed);
    }

    /// <summary>The check itself sees a call, in a method, a lambda or an iterator: this assembly's tests have them.</summary>
    [Fact]
    public void TheCheckSeesACall()
    {
        var found = Calls(typeof(UnguardedCallsTests).Assembly.Location).ToHashSet();
        Assert.Contains($"{nameof(GuardedBackwardTests)}: autograd.grad", found);
        Assert.Contains(found, call => call.EndsWith(": Tensor.backward", StringComparison.Ordinal));
    }

    /// <summary>Every call of a refused method: the outermost type that it is in, and the method.</summary>
    private static IEnumerable<string> Calls(string assembly)
    {
        using var file = new PEReader(File.OpenRead(assembly));
        var metadata = file.GetMetadataReader();
        var refused = metadata
            .MemberReferences.Select(handle => (Token: MetadataTokens(handle), Name: NameOf(metadata, metadata.GetMemberReference(handle))))
            .Where(member => s_refused.Contains(member.Name))
            .ToDictionary(member => member.Token, member => member.Name);
        foreach (var handle in metadata.MethodDefinitions)
        {
            var method = metadata.GetMethodDefinition(handle);
            if (method.RelativeVirtualAddress == 0)
            {
                continue;
            }

            var code = file.GetMethodBody(method.RelativeVirtualAddress).GetILBytes()!;
            for (var at = 0; at + 4 < code.Length; at++)
            {
                // call, callvirt; the second byte of ldftn.
                if (code[at] is 0x28 or 0x6F or 0x06 && refused.TryGetValue(BitConverter.ToInt32(code, at + 1), out var name))
                {
                    yield return $"{Outermost(metadata, method.GetDeclaringType())}: {name}";
                }
            }
        }
    }

    private static int MetadataTokens(MemberReferenceHandle handle) => System.Reflection.Metadata.Ecma335.MetadataTokens.GetToken(handle);

    private static string NameOf(MetadataReader metadata, MemberReference member) =>
        member.Parent.Kind == HandleKind.TypeReference
            ? $"{metadata.GetString(metadata.GetTypeReference((TypeReferenceHandle)member.Parent).Name)}.{metadata.GetString(member.Name)}"
            : string.Empty;

    private static string Outermost(MetadataReader metadata, TypeDefinitionHandle handle)
    {
        var type = metadata.GetTypeDefinition(handle);
        return type.GetDeclaringType() is { IsNil: false } outer ? Outermost(metadata, outer) : metadata.GetString(type.Name);
    }
}
