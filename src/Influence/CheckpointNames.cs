using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>Which tensor of a file is which of a model, what was done to find it, and what does not fit. Reads no tensor.</summary>
internal sealed class CheckpointNames
{
    private static readonly string[] s_wrappers = ["module.", "_orig_mod."];
    private readonly IReadOnlyDictionary<string, SafetensorsEntry> _entries;
    private readonly Dictionary<string, Tensor> _state;
    private readonly Checkpoint.Options _matching;

    // From a name in the model to the name in the file.
    private readonly Dictionary<string, string> _sources = [];
    private readonly List<string> _notes = [];
    private readonly List<string> _problems = [];

    private CheckpointNames(
        nn.Module model,
        Dictionary<string, Tensor> state,
        IReadOnlyDictionary<string, SafetensorsEntry> entries,
        Checkpoint.Options matching
    )
    {
        (_state, _entries, _matching) = (state, entries, matching);
        Rename();
        FillTied();
        Compare(model);
    }

    /// <summary>From a name in the model to the name in the file.</summary>
    public IReadOnlyDictionary<string, string> Sources => _sources;

    /// <summary>What was done beyond taking each tensor by its name.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>What does not fit.</summary>
    public IReadOnlyList<string> Problems => _problems;

    public static CheckpointNames Match(
        nn.Module model,
        Dictionary<string, Tensor> state,
        IReadOnlyDictionary<string, SafetensorsEntry> entries,
        Checkpoint.Options matching
    ) => new(model, state, entries, matching);

    /// <summary>Names of the model that are one tensor in memory, as tied weights are.</summary>
    public static IEnumerable<string[]> Tied(Dictionary<string, Tensor> state) =>
        state
            .Select(pair => (pair.Key, Place: Place(pair.Value)))
            .Where(pair => pair.Place is not null)
            .GroupBy(pair => pair.Place, pair => pair.Key)
            .Select(group => group.ToArray())
            .Where(names => names.Length > 1);

    private static string? Place(Tensor value)
    {
        nint? address =
            value.numel() == 0
                ? null
                : value.dtype switch
                {
                    ScalarType.Float32 => value.storage<float>().data_ptr(),
                    ScalarType.Float64 => value.storage<double>().data_ptr(),
                    _ => null,
                };
        return address is null
            ? null
            : $"{value.device} {address} {value.storage_offset()} [{string.Join(' ', value.shape)}] "
                + $"[{string.Join(' ', value.stride())}]";
    }

    private void Rename()
    {
        var (leftOut, stripped) = (new List<string>(), new List<string>());
        foreach (var file in _entries.Keys)
        {
            var name = _matching.Rename is { } rename ? rename(file) : file;
            if (name is null)
            {
                leftOut.Add(file);
                continue;
            }

            if (_matching.Lenient && !_state.ContainsKey(name) && Unwrapped(name) is { } bare)
            {
                stripped.Add(name);
                name = bare;
            }

            if (!_sources.TryAdd(name, file))
            {
                _problems.Add($"\"{PlainText.Name(file)}\" and \"{PlainText.Name(_sources[name])}\" both become {PlainText.Name(name)}");
            }
        }

        Note(leftOut, "left out by Rename:");
        Note(stripped, "the prefix of a wrapper was taken off:");
    }

    private string? Unwrapped(string name)
    {
        while (Array.Find(s_wrappers, prefix => name.StartsWith(prefix, StringComparison.Ordinal)) is { } wrapper)
        {
            name = name[wrapper.Length..];
            if (_state.ContainsKey(name))
            {
                return name;
            }
        }

        return null;
    }

    /// <summary>A tied weight that the file has under one of its names only.</summary>
    private void FillTied()
    {
        foreach (var names in Tied(_state))
        {
            if (Array.Find(names, _sources.ContainsKey) is { } stored)
            {
                foreach (var name in names.Where(name => _sources.TryAdd(name, _sources[stored])))
                {
                    _notes.Add($"{name} is tied to {stored}, which the file has once");
                }
            }
        }
    }

    private void Compare(nn.Module model)
    {
        var foreign = _sources.Keys.Where(name => !_state.ContainsKey(name)).ToList();
        var missing = _state.Keys.Where(name => !_sources.ContainsKey(name)).ToList();
        var counters = missing.Where(name => name.Split('.')[^1] == "num_batches_tracked").ToList();
        missing = [.. missing.Except(counters)];
        Note(counters, "not in the file, left as they are:");
        if (_matching.Lenient)
        {
            var trainable = model.named_parameters().Where(p => p.parameter.requires_grad).Select(p => p.name).ToHashSet();
            var kept = missing.Where(name => !trainable.Contains(name)).ToList();
            missing = [.. missing.Except(kept)];
            Note(kept, "not in the file, left as they are:");
            Note(foreign, "not in the model, left out:");
            foreign.ForEach(name => _sources.Remove(name));
            foreign.Clear();
            if (_sources.Count == 0)
            {
                _problems.Add("no name of the file is one of the model's");
            }
        }

        Problem(missing, "the checkpoint lacks");
        Problem(foreign, "the model lacks");
        var common = _sources
            .Where(pair => _state.ContainsKey(pair.Key))
            .Select(pair => (Name: pair.Key, Model: _state[pair.Key], File: _entries[pair.Value]))
            .ToList();
        Problem(
            [
                .. common
                    .Where(c => !c.Model.shape.SequenceEqual(c.File.Shape))
                    .Select(c => $"{c.Name} [{string.Join(", ", c.Model.shape)}] against [{string.Join(", ", c.File.Shape)}]"),
            ],
            "shapes differ (model against checkpoint):"
        );
        Problem(
            [
                .. common
                    .Where(c => KindOf(c.Model.dtype) is { } kind && kind != KindOf(SafetensorsType.Find(c.File.Type)?.Type))
                    .Select(c => $"{c.Name} {c.Model.dtype} against {PlainText.Name(c.File.Type)}"),
            ],
            "types differ (model against checkpoint):"
        );
        Note(
            [
                .. common
                    .Where(c => SafetensorsType.Find(c.File.Type) is { } type && type.Type != c.Model.dtype)
                    .Select(c => $"{c.Name} {c.File.Type} to {c.Model.dtype}"),
            ],
            "converted:"
        );
        if ((missing.Count > 0 || foreign.Count > 0) && !_matching.Lenient)
        {
            _problems.Add(
                "For names of another tool write Checkpoint.FromFile(path, matching: new Checkpoint.Options { Rename = name => ... }); "
                    + "Lenient = true passes over what the model lacks and over prefixes such as \"module.\""
            );
        }
    }

    /// <summary>Within a kind, numbers keep their value; null for types of which nothing is known.</summary>
    private static string? KindOf(ScalarType? type) =>
        type switch
        {
            ScalarType.Float16 or ScalarType.BFloat16 or ScalarType.Float32 or ScalarType.Float64 => "float",
            ScalarType.Byte or ScalarType.Int8 or ScalarType.Int16 or ScalarType.Int32 or ScalarType.Int64 => "whole",
            ScalarType.Bool => "truth",
            _ => null,
        };

    private void Note(List<string> names, string what)
    {
        if (names.Count > 0)
        {
            _notes.Add($"{what} {InfluenceException.List(names)}");
        }
    }

    private void Problem(List<string> names, string what)
    {
        if (names.Count > 0)
        {
            _problems.Add($"{what} {InfluenceException.List(names)}");
        }
    }
}
