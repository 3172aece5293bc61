using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>The tensors of a checkpoint on their way into a model, and those of a model before they are saved.</summary>
internal static class CheckpointWeights
{
    /// <summary>Copies a file's tensors into a model, all of them or none.</summary>
    /// <returns>What was done beyond taking each tensor by its name.</returns>
    /// <exception cref="InfluenceException">The file does not fit the model, or holds what is no weight.</exception>
    public static IReadOnlyList<string> Copy(string path, nn.Module model, Checkpoint.Options matching)
    {
        using var scope = NewDisposeScope();
        using var grad = no_grad();
        using var file = SafetensorsTensors.OpenAny(path);
        var state = model.state_dict();
        var names = CheckpointNames.Match(model, state, OfModel(file), matching);
        if (names.Problems.Count > 0)
        {
            throw new InfluenceException($"The checkpoint {path} does not fit the model: {string.Join("; ", names.Problems)}.");
        }

        // Read and checked before the first is copied: the model stays as it is where anything is wrong.
        var read = names.Sources.Values.Distinct().ToDictionary(name => name, file.Read);
        var buffers = model.named_buffers().Select(b => b.name).ToHashSet();
        var problems = state
            .Where(pair => names.Sources.ContainsKey(pair.Key))
            .Select(pair => Problem(pair.Key, pair.Value, read[names.Sources[pair.Key]], buffers.Contains(pair.Key)))
            .Concat(CheckpointNames.Tied(state).Select(tied => TiedProblem(tied, names.Sources, read)))
            .OfType<string>()
            .ToList();
        if (problems.Count > 0)
        {
            throw new InfluenceException(
                $"The checkpoint {path} cannot be used: "
                    + $"{string.Join("; ", problems.Take(10))}{(problems.Count > 10 ? $"; and {problems.Count - 10} more" : string.Empty)}."
            );
        }

        foreach (var (name, source) in names.Sources)
        {
            state[name].copy_(read[source]);
        }

        return [.. names.Notes, .. file.Notes, .. file.Integrity.Length == 0 ? [] : new[] { file.Integrity }];
    }

    /// <summary>The name of the first tensor of a model that a file has otherwise, or not at all; null where it has all.</summary>
    public static string? FirstDifference(string path, nn.Module model, Checkpoint.Options matching)
    {
        using var scope = NewDisposeScope();
        using var grad = no_grad();
        using var file = SafetensorsTensors.OpenAny(path);
        var state = model.state_dict();
        var names = CheckpointNames.Match(model, state, OfModel(file), matching);
        return names.Problems.Count > 0
            ? names.Problems[0]
            : names
                .Sources.Where(pair =>
                    !state[pair.Key]
                        .cpu()
                        .equal(file.Read(pair.Value).to_type(state[pair.Key].dtype).reshape(state[pair.Key].shape))
                        .all()
                        .item<bool>()
                )
                .Select(pair => pair.Key)
                .FirstOrDefault();
    }

    /// <summary>A file's tensors without the optimizer's moments, which no model holds.</summary>
    public static IReadOnlyDictionary<string, SafetensorsEntry> OfModel(SafetensorsTensors file) =>
        file.Entries.Where(pair => !OptimizerRecord.IsMoment(pair.Key)).ToDictionary(pair => pair.Key, pair => pair.Value);

    /// <summary>Names of what is no number in a model; infinity may stand in a buffer, as in a causal mask.</summary>
    public static IReadOnlyList<string> NotFinite(nn.Module model)
    {
        using var scope = NewDisposeScope();
        using var grad = no_grad();
        var buffers = model.named_buffers().Select(b => b.name).ToHashSet();
        return [.. model.state_dict().Where(pair => !IsSound(pair.Value, buffers.Contains(pair.Key))).Select(pair => pair.Key)];
    }

    private static string? Problem(string name, Tensor model, Tensor file, bool isBuffer)
    {
        using var scope = NewDisposeScope();
        if (!IsSound(file, isBuffer))
        {
            return $"{name} holds NaN or infinity";
        }

        if (file.dtype == model.dtype)
        {
            return null;
        }

        var converted = file.to_type(model.dtype);
        var same = file.is_floating_point() ? IsSound(converted, isBuffer) : converted.to_type(file.dtype).eq(file).all().item<bool>();
        return same ? null : $"{name} has numbers that {model.dtype} cannot hold";
    }

    private static string? TiedProblem(string[] tied, IReadOnlyDictionary<string, string> sources, Dictionary<string, Tensor> read)
    {
        var copies = tied.Where(sources.ContainsKey).Select(name => (Name: name, Source: sources[name])).DistinctBy(c => c.Source).ToList();
        return copies
            .Skip(1)
            .Where(c => read[c.Source].ne(read[copies[0].Source]).any().item<bool>())
            .Select(c => $"{copies[0].Name} and {c.Name} are one tensor in the model, but the file has two that differ")
            .FirstOrDefault();
    }

    private static bool IsSound(Tensor value, bool isBuffer)
    {
        if (!value.is_floating_point())
        {
            return true;
        }

        using var scope = NewDisposeScope();
        return isBuffer ? value.isnan().logical_not().all().item<bool>() : value.isfinite().all().item<bool>();
    }
}
