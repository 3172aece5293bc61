using Influence.Numerics;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>One trainable parameter where it lives in the model. It is found anew at each use: TorchSharp hands out new wrappers.</summary>
/// <param name="Owner">The module that holds it.</param>
/// <param name="Path">The module's path; empty for the model itself.</param>
/// <param name="LocalName">Its name within the module.</param>
/// <param name="Count">Its number of elements.</param>
/// <param name="Storage">Equal for one tensor under several names.</param>
internal sealed record ModelParameter(nn.Module Owner, string Path, string LocalName, long Count, TensorIdentity Storage)
{
    public string Name => Path.Length == 0 ? LocalName : $"{Path}.{LocalName}";

    public Parameter Value =>
        Owner.get_parameter(LocalName) ?? throw new InfluenceException($"The parameter {Name} is gone from the model.");

    /// <summary>Every module of the model with its path, the model itself first (named_modules leaves it out).</summary>
    public static IEnumerable<(string Path, nn.Module Module)> Modules(nn.Module model)
    {
        var seen = new HashSet<nn.Module>(ReferenceEqualityComparer.Instance);
        var scripts = new List<string>();
        foreach (var (path, module) in model.named_modules().Prepend((string.Empty, model)))
        {
            // TorchSharp makes the modules of a TorchScript module anew at each look, so nothing can be kept of them; the outermost holds
            // every parameter by its whole name.
            if (scripts.Exists(script => path.StartsWith(script, StringComparison.Ordinal)))
            {
                continue;
            }

            if (module is jit.ScriptModule)
            {
                scripts.Add(path.Length == 0 ? path : path + ".");
            }

            if (seen.Add(module))
            {
                yield return (path, module);
            }
        }
    }

    /// <summary>What a module is called in messages. TorchSharp asks a TorchScript module's name of the wrong native type, which ends the
    /// process.</summary>
    public static string KindOf(nn.Module module) => module is jit.ScriptModule ? "TorchScript" : module.GetName();

    /// <summary>The trainable parameters, module by module; a tied one appears once for each module that holds it.</summary>
    /// <param name="model">The model.</param>
    /// <param name="trainable">False: the frozen ones too.</param>
    public static List<ModelParameter> Find(nn.Module model, bool trainable = true) => Find(model, trainable, MemoryOf);

    /// <summary>The trainable parameters, or all where none is, of any dtype; for what only runs the model: which of them share memory is
    /// not known.</summary>
    public static List<ModelParameter> ForForward(nn.Module model)
    {
        var found = Find(model, trainable: true, _ => default);
        return found.Count > 0 ? found : Find(model, trainable: false, _ => default);
    }

    /// <summary>Where a tensor's numbers lie; for types whose address cannot be read, all of one size, which are then told apart one by
    /// one.</summary>
    private static (nint, long, long) MemoryOf(Tensor parameter) =>
        parameter.dtype is ScalarType.Float32 or ScalarType.Float64
            ? StorageOf(parameter)
            : (-1 - (int)parameter.dtype, 0, parameter.numel());

    /// <summary>Where a tensor's numbers lie.</summary>
    public static (nint, long, long) StorageOf(Tensor parameter)
    {
        var address = parameter.dtype switch
        {
            ScalarType.Float32 => parameter.storage<float>().data_ptr(),
            ScalarType.Float64 => parameter.storage<double>().data_ptr(),
            var other => throw new InfluenceException(
                $"The model's parameters are {other}; gradients are compared in float32 or float64. Write model.to(torch.float32) first."
            ),
        };
        return (address, parameter.storage_offset(), parameter.numel());
    }

    private static List<ModelParameter> Find(nn.Module model, bool trainable, Func<Tensor, (nint, long, long)> memory)
    {
        using var scope = NewDisposeScope();
        var found = new List<ModelParameter>();
        var tensors = new Dictionary<(nint, long, long), List<Tensor>>();
        foreach (var (path, module) in Modules(model))
        {
            foreach (var (name, parameter) in module.named_parameters(recurse: false))
            {
                if (parameter is not null && (parameter.requires_grad || !trainable))
                {
                    found.Add(new ModelParameter(module, path, name, parameter.numel(), Identify(parameter)));
                }
            }
        }

        return found;

        TensorIdentity Identify(Tensor parameter)
        {
            var (address, offset, count) = memory(parameter);
            if (address == default)
            {
                return default;
            }

            if (!tensors.TryGetValue((address, offset, count), out var over))
            {
                tensors[(address, offset, count)] = over = [];
            }

            var which = over.FindIndex(other => SameTensor.Are(other, parameter));
            if (which < 0)
            {
                which = over.Count;
                over.Add(parameter);
            }

            return new TensorIdentity(address, offset, count, which);
        }
    }
}
