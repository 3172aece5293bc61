using System.Collections;
using System.Globalization;
using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>A list of modules, which become submodules "0", "1", ... when the list itself is registered.</summary>
public class ModuleList<T> : nn.Module, IList<T> where T : nn.Module
{
    private readonly List<T> _modules = [];
    private bool _registered;

    public ModuleList(params T[] modules) : base(nameof(ModuleList<>)) => _modules.AddRange(modules);

    public int Count => _modules.Count;

    public bool IsReadOnly => false;

    public T this[int index]
    {
        get => _modules[index];
        set => _modules[index] = value;
    }

    public void Add(T item) => _modules.Add(item);

    public void append(params T[] parameters) => _modules.AddRange(parameters);

    public void Insert(int index, T item) => _modules.Insert(index, item);

    public bool Remove(T item) => _modules.Remove(item);

    public void RemoveAt(int index) => _modules.RemoveAt(index);

    public void Clear() => _modules.Clear();

    public bool Contains(T item) => _modules.Contains(item);

    public int IndexOf(T item) => _modules.IndexOf(item);

    public void CopyTo(T[] array, int arrayIndex) => _modules.CopyTo(array, arrayIndex);

    public IEnumerator<T> GetEnumerator() => _modules.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    protected override void RegisterComponents()
    {
        if (_registered)
        {
            return;
        }

        for (var i = 0; i < Count; i++)
        {
            register_module(i.ToString(CultureInfo.InvariantCulture), _modules[i]);
        }

        _registered = true;
    }
}
