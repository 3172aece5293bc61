using Influence.Formats;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The tensors of a saved fit. Nothing of a file is taken on trust: type, shape, finite numbers, signs and the length of eigenvectors are
/// checked as each is taken, and in the end that none is left over.
/// </summary>
internal sealed class FitTensors(string path, Dictionary<string, Tensor> tensors, Device? device)
{
    /// <summary>Rounding in float32 is far below.</summary>
    private const double UnitTolerance = 1e-3;

    private readonly HashSet<string> _taken = [];
    private ScalarType? _dtype;

    /// <summary>Whether there is a tensor of this name.</summary>
    public bool Contains(string name) => tensors.ContainsKey(name);

    /// <summary>Numbers in the model's type, or where so asked in float64 on the CPU.</summary>
    /// <param name="name">The tensor.</param>
    /// <param name="shape">Its shape; -1 stands for any size above zero.</param>
    /// <param name="statistics">Float64, and left on the CPU.</param>
    /// <param name="notNegative">Whether each number must be zero or above.</param>
    public Tensor Take(string name, long[] shape, bool statistics = false, bool notNegative = false)
    {
        if (!tensors.TryGetValue(name, out var tensor))
        {
            throw new InfluenceException($"{path} lacks the tensor \"{name}\".");
        }

        _taken.Add(name);
        using var scope = NewDisposeScope();
        var dtype = tensor.dtype;
        Check(
            name,
            statistics ? dtype == ScalarType.Float64 : dtype is ScalarType.Float32 or ScalarType.Float64,
            $"is {dtype}; expected {(statistics ? "Float64" : "Float32 or Float64")}"
        );
        if (!statistics)
        {
            _dtype ??= dtype;
            Check(name, dtype == _dtype, $"is {dtype}; others of the file are {_dtype}");
        }

        Check(
            name,
            tensor.dim() == shape.Length && tensor.shape.Zip(shape).All(d => d.First > 0 && (d.Second < 0 || d.First == d.Second)),
            $"is [{string.Join(", ", tensor.shape)}]; expected [{string.Join(", ", shape.Select(d => d < 0 ? "n" : $"{d}"))}]"
        );
        Check(name, tensor.isfinite().all().item<bool>(), "holds NaN or infinity");
        Check(name, !notNegative || tensor.ge(Kept(0)).all().item<bool>(), "holds negative numbers");
        return (device is null || statistics ? tensor : tensor.to(device)).alias().MoveToOuterDisposeScope();
    }

    /// <summary>Eigenvectors: of length one.</summary>
    /// <param name="name">The tensor.</param>
    /// <param name="shape">Its shape; -1 stands for any size above zero.</param>
    /// <param name="along">The dimension along which a vector's numbers lie.</param>
    /// <param name="statistics">Float64.</param>
    public Tensor TakeVectors(string name, long[] shape, long along, bool statistics = false)
    {
        var vectors = Take(name, shape, statistics);
        using var scope = NewDisposeScope();
        var lengths = vectors.to_type(ScalarType.Float64).Squared().sum(along);
        Check(name, (lengths - Kept(1)).abs().le(Kept(UnitTolerance)).all().item<bool>(), "holds eigenvectors that are not of length one");
        return vectors;
    }

    /// <exception cref="InfluenceException">The file holds tensors that were not taken.</exception>
    public void CheckAllTaken()
    {
        var left = tensors.Keys.Where(name => !_taken.Contains(name)).ToList();
        if (left.Count > 0)
        {
            throw new InfluenceException($"{path} holds tensors that no part of its fit names: {InfluenceException.List(left)}.");
        }
    }

    private void Check(string name, bool holds, string problem)
    {
        if (!holds)
        {
            throw new InfluenceException($"{path} is no fit that can be used: \"{name}\" {problem}.");
        }
    }
}
