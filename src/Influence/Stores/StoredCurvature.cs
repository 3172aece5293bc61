using System.Globalization;
using System.Security.Cryptography;
using Influence.Curvature;
using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// (H + damping I)^(-1/2) as the store keeps it: gradients times it have influence scores for dot products. The fit lies beside the shards,
/// since queries need it too. Owns what it reads.
/// </summary>
internal sealed class StoredCurvature : IDisposable
{
    public const string FileName = "curvature.safetensors";
    private const string Dampings = "curvature/dampings";
    private const string FileHash = "curvature/hash";
    private const double Unused = -1;

    private readonly LayerwisePreconditioner _fit;
    private readonly BlockInverse?[] _roots;

    /// <param name="session">Open; its blocks are the fit's, in any order.</param>
    /// <param name="folder">The store's.</param>
    /// <param name="matrices">What <see cref="Write"/> gave.</param>
    public StoredCurvature(GradientSession session, string folder, IReadOnlyDictionary<string, Tensor> matrices)
    {
        var path = Path.Combine(folder, FileName);
        if (!SharedFile.HashOf(path).AsSpan().SequenceEqual(matrices[FileHash].data<byte>().ToArray()))
        {
            throw new InfluenceException(
                $"{path} is damaged, or of another store: its hash is not the one that the store has. Delete the folder and call "
                    + "GradientStore.Write again with the same arguments."
            );
        }

        _fit = (LayerwisePreconditioner)Preconditioner.Load(path, session.Device);
        var dampings = matrices[Dampings].data<double>().ToArray();
        var places = _fit.Blocks.Select((block, k) => (block?.Name, k)).Where(b => b.Name is not null).ToDictionary(b => b.Name!, b => b.k);
        _roots =
        [
            .. session.BlockNames.Select(name =>
                places.TryGetValue(name, out var k) && dampings[k] >= 0 ? _fit.Blocks[k]!.InverseRoot(dampings[k]) : null
            ),
        ];
    }

    /// <summary>The fit in words, with a hash of its eigenvalues: another one is another store.</summary>
    public static string Describe(LayerwisePreconditioner fit, Damping? damping)
    {
        using var scope = NewDisposeScope();
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var values = fit
            .Blocks.OfType<BlockCurvature>()
            .SelectMany(block => block.Tensors())
            .Where(t => !t.Name.Contains("vectors", StringComparison.Ordinal));
        foreach (var (_, value) in values)
        {
            hash.AppendData(value.cpu().contiguous().clone().bytes);
        }

        return string.Create(
            CultureInfo.InvariantCulture,
            $"{fit.Info.Method}, {fit.Info.Matrix}, {fit.Info.Examples} examples, seed {fit.Info.Seed}, damping "
                + $"{damping ?? fit.Info.Damping}, eigenvalues {Convert.ToHexStringLower(hash.GetHashAndReset())[..16]}"
        );
    }

    /// <summary>Writes the fit beside the shards.</summary>
    /// <returns>What the store's own file of matrices holds of it, in the current scope.</returns>
    /// <exception cref="InfluenceException">It was fitted at other weights, or for other layers.</exception>
    public static List<(string Name, Tensor Value)> Write(
        GradientSession session,
        GradientProjection projection,
        string folder,
        CancellationToken token
    )
    {
        var fit = projection.Preconditioner!;
        using var inverse = fit.Prepare(session, projection.Damping, 0, token);
        var own = inverse.Dampings.ToDictionary(d => d.Block, d => d.Damping);
        var path = Path.Combine(folder, FileName);
        fit.Save(path);
        return
        [
            (Dampings, tensor(fit.Blocks.Select(b => b is null ? Unused : own.GetValueOrDefault(b.Name, Unused)).ToArray())),
            (FileHash, tensor(SharedFile.HashOf(path))),
        ];
    }

    /// <summary>Adds the projections of a block's gradients times (H + damping I)^(-1/2) to rows.</summary>
    public void AddProjected(Tensor rows, BlockGradients gradients, int block, PartProjection[] projections) =>
        _roots[block]?.AddProjected(rows, gradients, projections);

    /// <summary>The same to the columns of a sketch.</summary>
    public void AddSketch(Tensor rows, BlockGradients gradients, int block, (Tensor Column, Tensor? Sign)[] columns)
    {
        if (_roots[block] is { } root)
        {
            new DenseGradients(gradients.Examples, () => root.Dense(gradients)).AddSketch(rows, columns);
        }
    }

    /// <summary>The squared norms of a block's gradients times (H + damping I)^(-1/2): self-influences, <c>[B]</c>; null where the block
    /// does not count.</summary>
    public Tensor? SquaredNorms(BlockGradients gradients, int block) => _roots[block]?.SquaredNorms(gradients);

    public void Dispose()
    {
        foreach (var root in _roots)
        {
            root?.Dispose();
        }

        _fit.Dispose();
    }
}
