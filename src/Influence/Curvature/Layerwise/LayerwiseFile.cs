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
    private const int MostBlocks = 1_000_000;

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

    public static (CurvatureInfo Info, BlockCurvature?[] Blocks) Load(string path, IReadOnlyList<string> methods, Device? device)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        using var file = SafetensorsFile.Open(path);
        var info = CurvatureInfo.FromFile(file, path);
        if (!methods.Contains(info.Method))
        {
            throw new InfluenceException($"{path} holds a fit by {PlainText.Name(info.Method)}, not by {string.Join(" or ", methods)}.");
        }

        if (
            !int.TryParse(file.Metadata.GetValueOrDefault(CountKey), NumberStyles.None, CultureInfo.InvariantCulture, out var count)
            || count > MostBlocks
        )
        {
            throw new InfluenceException(
                $"{path} is not a saved preconditioner: its metadata lack a number \"{CountKey}\" of at most {MostBlocks}."
            );
        }

        var tensors = new FitTensors(path, file.ReadAll(), device);
        var blocks = new BlockFile(path, tensors, file.Metadata).Read(count);
        tensors.CheckAllTaken();

        // Only now does anything outlive the call: a file that is refused leaves nothing behind.
        foreach (var tensor in blocks.OfType<BlockCurvature>().SelectMany(block => block.Tensors()).Select(t => t.Value))
        {
            tensor.DetachFromDisposeScope();
        }

        return (info, blocks);
    }

    /// <summary>The blocks of one open file.</summary>
    private sealed class BlockFile(string path, FitTensors tensors, Dictionary<string, string> metadata)
    {
        private readonly Dictionary<int, FactorBasis> _inputs = [];

        public BlockCurvature?[] Read(int count)
        {
            var there = metadata
                .Keys.Where(key => key.StartsWith(Prefix, StringComparison.Ordinal))
                .Select(key =>
                    int.TryParse(
                        key.AsSpan(Prefix.Length, Math.Max(0, key.IndexOf('.', Prefix.Length) - Prefix.Length)),
                        NumberStyles.None,
                        CultureInfo.InvariantCulture,
                        out var k
                    )
                    && k < count
                        ? k
                        : throw new InfluenceException(
                            $"{path} speaks of {count} blocks; its entry \"{PlainText.Name(key)}\" is of none of them."
                        )
                )
                .ToHashSet();
            return [.. Enumerable.Range(0, count).Select(k => there.Contains(k) ? Block(k) : null)];
        }

        private BlockCurvature Block(int k)
        {
            var (name, form) = (Entry($"{Prefix}{k}.name"), Entry($"{Prefix}{k}.form"));
            switch (form)
            {
                case Kronecker:
                    return new KroneckerCurvature(Input(k), Basis(k, "output"), eigenvalues: null) { Name = name };
                case MeasuredKronecker:
                    var (input, output) = (Input(k), Basis(k, "output"));
                    return new KroneckerCurvature(input, output, Eigenvalues(k, [output.Size, input.Size])) { Name = name };
                case Grouped:
                    var eigenvalues = Eigenvalues(k, [-1, -1, -1]); // [g, O/g, I']
                    var (g, o, i) = (eigenvalues.shape[0], eigenvalues.shape[1], eigenvalues.shape[2]);
                    return new GroupedCurvature(
                        Vectors(k, "input.vectors", [g, i, i]),
                        Vectors(k, "output.vectors", [g, o, o]),
                        eigenvalues
                    )
                    {
                        Name = name,
                    };
                case Token:
                    var basis = Basis(k, "output");
                    return new TokenCurvature(basis, Eigenvalues(k, [-1, basis.Size])) { Name = name };
                case TokenDiagonal:
                    var values = Values(k, "output");
                    return new TokenCurvature(new FactorBasis([], values), Eigenvalues(k, [-1, values.shape[0]])) { Name = name };
                case Diagonal:
                    return new DiagonalCurvature([
                        .. name.Split(", ").Select((_, n) => tensors.Take($"block.{k}.diagonal.{n}", [-1], notNegative: true)),
                    ])
                    {
                        Name = name,
                    };
                default:
                    throw new InfluenceException($"{path} holds a block of the unknown form \"{PlainText.Name(form)}\".");
            }
        }

        private FactorBasis Input(int k) =>
            metadata.TryGetValue($"{Prefix}{k}.input", out var shared)
                ? int.TryParse(shared, NumberStyles.None, CultureInfo.InvariantCulture, out var first)
                && _inputs.TryGetValue(first, out var basis)
                    ? basis
                    : throw new InfluenceException(
                        $"{path} says that block {k} has the input of block \"{PlainText.Name(shared)}\", which has none."
                    )
                : _inputs[k] = Basis(k, "input");

        /// <summary>As many diagonal blocks as the eigenvalues are for.</summary>
        private FactorBasis Basis(int k, string name)
        {
            var values = Values(k, name);
            var vectors = new List<Tensor>();
            long columns = 0;
            while (columns < values.shape[0])
            {
                var block = tensors.Take($"block.{k}.{name}.vectors.{vectors.Count}", [-1, -1]);
                vectors.Add(Vectors(k, $"{name}.vectors.{vectors.Count}", [block.shape[0], block.shape[0]]));
                columns += block.shape[0];
            }

            return columns == values.shape[0]
                ? new FactorBasis([.. vectors], values)
                : throw new InfluenceException(
                    $"{path} is no fit that can be used: block {k} has {values.shape[0]} eigenvalues of the "
                        + $"{name} and {columns} eigenvectors."
                );
        }

        private Tensor Values(int k, string name) => tensors.Take($"block.{k}.{name}.values", [-1], statistics: true, notNegative: true);

        private Tensor Eigenvalues(int k, long[] shape) => tensors.Take($"block.{k}.eigenvalues", shape, notNegative: true);

        /// <summary>Eigenvectors stand in columns.</summary>
        private Tensor Vectors(int k, string name, long[] shape) =>
            tensors.TakeVectors($"block.{k}.{name}", shape, along: shape.Length - 2);

        private string Entry(string key) =>
            metadata.TryGetValue(key, out var value)
                ? PlainText.Lines(value)
                : throw new InfluenceException($"{path} lacks the entry \"{key}\" in its metadata.");
    }
}
