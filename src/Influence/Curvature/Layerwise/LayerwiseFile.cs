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

    // A form says which tensors there are, so that one that is missing is missed.
    private const string Kronecker = "kronecker";
    private const string MeasuredKronecker = "kronecker, measured";
    private const string Grouped = "grouped";
    private const string Token = "token";
    private const string TokenDiagonal = "token, diagonal";
    private const string Diagonal = "diagonal";

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

            var own = block.Tensors();
            metadata[$"{Prefix}{k}.name"] = block.Name;
            metadata[$"{Prefix}{k}.form"] = block switch
            {
                KroneckerCurvature => own.Any(t => t.Name == "eigenvalues") ? MeasuredKronecker : Kronecker,
                GroupedCurvature => Grouped,
                TokenCurvature => own.Any(t => t.Name == "output.vectors.0") ? Token : TokenDiagonal,
                _ => Diagonal,
            };
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
        if (info.Method != method)
        {
            throw new InfluenceException($"{path} holds a fit by {info.Method}, not by {method}.");
        }

        if (!int.TryParse(metadata.GetValueOrDefault(CountKey), CultureInfo.InvariantCulture, out var count))
        {
            throw new InfluenceException($"{path} is not a saved preconditioner: its metadata lack a number \"{CountKey}\".");
        }

        var blocks = new BlockFile(path, tensors, metadata, device).Read(count);

        // Only now does anything outlive the call: a file that is refused leaves nothing behind.
        foreach (var tensor in blocks.OfType<BlockCurvature>().SelectMany(block => block.Tensors()).Select(t => t.Value))
        {
            tensor.DetachFromDisposeScope();
        }

        return (info, blocks);
    }

    /// <summary>The blocks of one open file.</summary>
    private sealed class BlockFile(string path, Dictionary<string, Tensor> tensors, Dictionary<string, string> metadata, Device? device)
    {
        private readonly Dictionary<int, FactorBasis> _inputs = [];

        public BlockCurvature?[] Read(int count) =>
            [.. Enumerable.Range(0, count).Select(k => metadata.Keys.Any(key => key.StartsWith($"{Prefix}{k}.", StringComparison.Ordinal)) ? Block(k) : null)];

        private BlockCurvature Block(int k)
        {
            var (name, form) = (Entry($"{Prefix}{k}.name"), Entry($"{Prefix}{k}.form"));
            return form switch
            {
                Kronecker => new KroneckerCurvature(Input(k), Basis(k, "output"), eigenvalues: null) { Name = name },
                MeasuredKronecker => new KroneckerCurvature(Input(k), Basis(k, "output"), Get(k, "eigenvalues")) { Name = name },
                Grouped => new GroupedCurvature(Get(k, "input.vectors"), Get(k, "output.vectors"), Get(k, "eigenvalues")) { Name = name },
                Token => new TokenCurvature(Basis(k, "output"), Get(k, "eigenvalues")) { Name = name },
                TokenDiagonal => new TokenCurvature(new FactorBasis([], Get(k, "output.values", onCpu: true)), Get(k, "eigenvalues")) { Name = name },
                Diagonal => new DiagonalCurvature([.. name.Split(", ").Select((_, n) => Get(k, $"diagonal.{n}"))]) { Name = name },
                _ => throw new InfluenceException($"{path} holds a block of the unknown form \"{form}\"."),
            };
        }

        private FactorBasis Input(int k) => metadata.TryGetValue($"{Prefix}{k}.input", out var shared)
            ? int.TryParse(shared, CultureInfo.InvariantCulture, out var first) && _inputs.TryGetValue(first, out var basis)
                ? basis
                : throw new InfluenceException($"{path} says that block {k} has the input of block \"{shared}\", which has none.")
            : _inputs[k] = Basis(k, "input");

        /// <summary>As many diagonal blocks as the eigenvalues are for.</summary>
        private FactorBasis Basis(int k, string name)
        {
            var values = Get(k, $"{name}.values", onCpu: true);
            var vectors = new List<Tensor>();
            while (vectors.Sum(v => v.shape[0]) < values.shape[0])
            {
                vectors.Add(Get(k, $"{name}.vectors.{vectors.Count}"));
            }

            return new FactorBasis([.. vectors], values);
        }

        private string Entry(string key) => metadata.TryGetValue(key, out var value)
            ? value
            : throw new InfluenceException($"{path} lacks the entry \"{key}\" in its metadata.");

        private Tensor Get(int k, string name, bool onCpu = false) => tensors.TryGetValue($"block.{k}.{name}", out var tensor)
            ? (device is null || onCpu ? tensor : tensor.to(device)).alias()
            : throw new InfluenceException($"{path} lacks the tensor \"block.{k}.{name}\".");
    }
}
