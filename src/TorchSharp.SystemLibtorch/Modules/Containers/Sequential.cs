using System.Globalization;
using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>
/// Modules applied one after the other. Intermediate results are disposed as soon as the next one exists.
/// </summary>
/// <remarks>
/// A hook that wants to keep an intermediate tensor keeps an <c>alias()</c> or a <c>detach()</c> of it.
/// </remarks>
public class Sequential : nn.Module<Tensor, Tensor>
{
    // Not _internal_submodules: a module may appear twice here, and names need not be unique.
    private readonly List<(string Name, nn.IModule<Tensor, Tensor> Module)> _steps = [];

    protected Sequential(params (string name, nn.Module<Tensor, Tensor> submodule)[] modules) : this()
    {
        foreach (var (name, submodule) in modules)
        {
            append(name, submodule);
        }
    }

    protected Sequential(params nn.Module<Tensor, Tensor>[] modules) : this()
    {
        foreach (var module in modules)
        {
            append(module);
        }
    }

    internal Sequential() : base("torch::nn::SequentialImpl")
    {
    }

    public int Count => _steps.Count;

    [IndexerName("SequentialItems")]
    public nn.IModule<Tensor, Tensor> this[int index] => _steps[index].Module;

    [IndexerName("SequentialItems")]
    public Sequential this[(int? start, int? end) index] => Slice(index.start ?? 0, index.end ?? Count);

    [IndexerName("SequentialItems")]
    public Sequential this[Range index] => Slice(index.Start.GetOffset(Count), index.End.GetOffset(Count));

    public Sequential append(string name, nn.IModule<Tensor, Tensor> module)
    {
        _steps.Add((name, module));
        return this;
    }

    /// <summary>Adds a module under its position as its name.</summary>
    public Sequential append(nn.IModule<Tensor, Tensor> module)
        => append(Count.ToString(CultureInfo.InvariantCulture), module);

    public override Tensor forward(Tensor tensor)
    {
        if (Count == 0)
        {
            return tensor.alias();
        }

        var current = _steps[0].Module.call(tensor);
        for (var i = 1; i < Count; i++)
        {
            var next = _steps[i].Module.call(current);
            current.Dispose();
            current = next;
        }

        return current;
    }

    public override nn.Module apply(Action<nn.Module> fn)
    {
        foreach (var child in children())
        {
            child.apply(fn);
        }

        fn(this);
        return this;
    }

    public override IEnumerable<(string name, nn.Module module)> named_children()
        => _steps.Select(step => (step.Name, (nn.Module)step.Module));

    public override IEnumerable<(string name, Parameter parameter)> named_parameters(bool recurse = true)
        => recurse ? Gather(child => child.named_parameters(true)) : [];

    public override IEnumerable<(string name, Tensor buffer)> named_buffers(
        bool recurse = true,
        bool include_persistent = true)
        => recurse ? Gather(child => child.named_buffers(true, include_persistent)) : [];

    private IEnumerable<(string, TTensor)> Gather<TTensor>(Func<nn.Module, IEnumerable<(string, TTensor)>> entriesOf)
        where TTensor : Tensor
    {
        var seen = new HashSet<Tensor>(ReferenceEqualityComparer.Instance);
        foreach (var (prefix, child) in named_children())
        {
            foreach (var (name, tensor) in entriesOf(child))
            {
                if (!tensor.IsInvalid && seen.Add(tensor))
                {
                    yield return ($"{prefix}.{name}", tensor);
                }
            }
        }
    }

    private Sequential Slice(int start, int end)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, Count);
        ArgumentOutOfRangeException.ThrowIfNegative(end);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(end, Count);
        var slice = new Sequential();
        for (var i = start; i < end; i++)
        {
            slice.append(_steps[i].Name, _steps[i].Module);
        }

        return slice;
    }
}
