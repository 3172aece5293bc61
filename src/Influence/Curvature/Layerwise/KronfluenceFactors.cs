using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The factors of an EK-FAC that kronfluence fitted: safetensors files by their kind, in each a tensor for each module. Its bases are ours:
/// activations with a one appended where there is a bias, eigenvectors in columns, eigenvalues <c>[O, I']</c> as sums over examples.
/// </summary>
internal sealed class KronfluenceFactors(string folder, GradientSession session)
{
    private const string Weight = ".weight";

    private readonly FitTensors _inputVectors = Open(folder, "activation_eigenvectors", session, session.Dtype);
    private readonly FitTensors _inputValues = Open(folder, "activation_eigenvalues", session, ScalarType.Float64);
    private readonly FitTensors _outputVectors = Open(folder, "gradient_eigenvectors", session, session.Dtype);
    private readonly FitTensors _outputValues = Open(folder, "gradient_eigenvalues", session, ScalarType.Float64);
    private readonly FitTensors _sums = Open(folder, "lambda_matrix", session, session.Dtype);
    private readonly FitTensors _counts = Open(folder, "num_lambda_processed", session, ScalarType.Float64);

    /// <summary>The examples that the eigenvalues were measured on.</summary>
    public int Examples { get; private set; }

    /// <summary>Reads a block for each of the session's; what outlives the current scope is detached only when all are there.</summary>
    /// <exception cref="InfluenceException">A block has no factors, or factors of another size.</exception>
    public BlockCurvature?[] Read()
    {
        string[] missing =
        [
            .. session
                .Parts.Where(parts => Module(parts) is not { } module || !_sums.Contains(module))
                .Select(parts => string.Join(", ", parts.Select(p => p.Name))),
        ];
        if (missing.Length > 0)
        {
            throw new InfluenceException(
                $"{folder} has no factors of {InfluenceException.List(missing)}. "
                    + "kronfluence has factors of Linear and Conv2d modules that were tracked; expected those of all layers that take "
                    + "part. "
                    + "Select them: task with { Layers = LayerSelection.Where(name => ...) }."
            );
        }

        BlockCurvature?[] blocks = [.. session.Parts.Select(Block)];
        foreach (var tensor in blocks.OfType<BlockCurvature>().SelectMany(block => block.Tensors()).Select(t => t.Value))
        {
            tensor.DetachFromDisposeScope();
        }

        return blocks;
    }

    private KroneckerCurvature Block(IReadOnlyList<ParameterPart> parts)
    {
        var module = Module(parts)!;
        var outputs = parts[0].Parameter.Value.shape[0];
        var inputs = (parts[0].Count / outputs) + (parts.Count - 1);
        var input = Basis(_inputVectors, _inputValues, module, inputs);
        var output = Basis(_outputVectors, _outputValues, module, outputs);
        using var scope = NewDisposeScope();
        var count = _counts.Take(module, [1], statistics: true, notNegative: true).item<double>();
        if (count < 1)
        {
            throw new InfluenceException($"{folder}: the eigenvalues of \"{module}\" were measured on no example. Fit the factors again.");
        }

        Examples = (int)count;
        var eigenvalues = _sums.Take(module, [outputs, inputs], notNegative: true).div(Kept(count)).contiguous();
        return new KroneckerCurvature(input, output, eigenvalues.MoveToOuterDisposeScope())
        {
            Name = string.Join(", ", parts.Select(p => p.Name)),
        };
    }

    private static FactorBasis Basis(FitTensors vectors, FitTensors values, string module, long size) =>
        new(
            [vectors.TakeVectors(module, [size, size], along: 0).contiguous()],
            values.Take(module, [size], statistics: true, notNegative: true)
        );

    /// <summary>The module's name; null where the block is not the weight, with or without the bias, of a kind that kronfluence
    /// has.</summary>
    private static string? Module(IReadOnlyList<ParameterPart> parts) =>
        parts[0].Name.EndsWith(Weight, StringComparison.Ordinal)
        && parts[0].Parameter.Owner is TorchSharp.Modules.Linear or TorchSharp.Modules.Conv2d { groups: 1 }
            ? parts[0].Name[..^Weight.Length]
            : null;

    /// <summary>Its tensors as numbers of one type. Rounding leaves eigenvalues of a covariance below zero: they are zero.</summary>
    private static FitTensors Open(string folder, string kind, GradientSession session, ScalarType dtype)
    {
        var path = Path.Combine(folder, $"{kind}.safetensors");
        if (!File.Exists(path))
        {
            throw new InfluenceException(
                $"There is no {kind}.safetensors in {folder}; expected the folder of an EK-FAC (strategy=\"ekfac\") that kronfluence's "
                    + "fit_all_factors wrote, influence_results/ANALYSIS/factors_NAME."
            );
        }

        using var file = SafetensorsFile.Open(path);
        var tensors = file.Entries.Keys.ToDictionary(name => name, name => file.Read(name).to_type(dtype));
        if (kind.EndsWith("eigenvalues", StringComparison.Ordinal))
        {
            tensors = tensors.ToDictionary(t => t.Key, t => t.Value.clamp_min(Kept(0)));
        }

        return new FitTensors(path, tensors, session.Device);
    }
}
