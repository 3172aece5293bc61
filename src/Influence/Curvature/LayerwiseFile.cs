using System.Globalization;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// Layer-wise curvature as a safetensors file: tensors <c>block.k.*</c>, and in the metadata each block's name and form.
/// </summary>
internal static class LayerwiseFile
{
    private const string Prefix = "influence.curvature.block.";
    private const string CountKey = "influence.curvature.blocks";

    public static void Save(string path, CurvatureInfo info, IReadOnlyList<BlockCurvature?> blocks)
    {
        ArgumentNullException.ThrowIfNull(path);
        Safetensors.CheckName(path);
        var metadata = info.ToStrings();
        metadata[CountKey] = blocks.Count.ToString(CultureInfo.InvariantCulture);
        var tensors = new List<(string Name, Tensor Value)>();
        var inputs = new Dictionary<FactorBasis, int>();
        for (var k = 0; k < blocks.Count; k++)
        {
            if (blocks[k] is not { } block)
            {
                continue;
            }

            metadata[$"{Prefix}{k}.name"] = block.Name;
            metadata[$"{Prefix}{k}.form"] = block switch
            {
                KroneckerCurvature => "kronecker",
                GroupedCurvature => "grouped",
                TokenCurvature => "token",
                _ => "diagonal",
            };
            var own = block.Tensors();
            if (block is KroneckerCurvature kronecker && !inputs.TryAdd(kronecker.Input, k))
            {
                // Written once, by the first layer that has this input.
                metadata[$"{Prefix}{k}.input"] = inputs[kronecker.Input].ToString(CultureInfo.InvariantCulture);
                own = own.Where(t => !t.Name.StartsWith("input.", StringComparison.Ordinal));
            }

            tensors.AddRange(own.Select(t => ($"block.{k}.{t.Name}", t.Value)));
        }

        Safetensors.Save(path, tensors, metadata);
    }

    public static (CurvatureInfo Info, BlockCurvature?[] Blocks) Load(string path, string method, Device? device)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        var (tensors, metadata) = Safetensors.Load(path);
        var info = CurvatureInfo.FromStrings(metadata, path);
        if (info.Method != method || !int.TryParse(metadata.GetValueOrDefault(CountKey), CultureInfo.InvariantCulture, out var count))
        {
            throw new InfluenceException($"{path} holds a fit by {info.Method}, not by {method}.");
        }

        var blocks = new BlockCurvature?[count];
        var inputs = new Dictionary<int, FactorBasis>();
        for (var k = 0; k < count; k++)
        {
            if (metadata.TryGetValue($"{Prefix}{k}.form", out var form))
            {
                blocks[k] = Read(k, form, metadata[$"{Prefix}{k}.name"]);
            }
        }

        return (info, blocks);

        BlockCurvature Read(int k, string form, string name) => form switch
        {
            "kronecker" => new KroneckerCurvature(Input(k), Basis(k, "output"), Optional(k, "eigenvalues")) { Name = name },
            "grouped" => new GroupedCurvature(Get(k, "input.vectors"), Get(k, "output.vectors"), Get(k, "eigenvalues")) { Name = name },
            "token" => new TokenCurvature(Basis(k, "output"), Get(k, "eigenvalues")) { Name = name },
            "diagonal" => new DiagonalCurvature([.. Indexed(k, "diagonal")]) { Name = name },
            _ => throw new InfluenceException($"{path} holds a block of the unknown form \"{form}\"."),
        };

        FactorBasis Input(int k)
        {
            if (metadata.TryGetValue($"{Prefix}{k}.input", out var shared))
            {
                return inputs[int.Parse(shared, CultureInfo.InvariantCulture)];
            }

            return inputs[k] = Basis(k, "input");
        }

        FactorBasis Basis(int k, string name) => new([.. Indexed(k, $"{name}.vectors")], Keep(tensors[$"block.{k}.{name}.values"]));

        IEnumerable<Tensor> Indexed(int k, string name)
        {
            for (var n = 0; Optional(k, $"{name}.{n}") is { } tensor; n++)
            {
                yield return tensor;
            }
        }

        Tensor Get(int k, string name) => Optional(k, name)
            ?? throw new InfluenceException($"{path} lacks the tensor \"block.{k}.{name}\".");

        Tensor? Optional(int k, string name) => tensors.TryGetValue($"block.{k}.{name}", out var tensor)
            ? Keep(device is null ? tensor : tensor.to(device))
            : null;

        static Tensor Keep(Tensor tensor) => tensor.alias().DetachFromDisposeScope();
    }
}
