using System.Collections;
using System.Diagnostics.CodeAnalysis;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Modules by name, in order; they become submodules when the dictionary itself is registered.</summary>
public class ModuleDict<T> : nn.Module, IDictionary<string, T>, IList<(string, T)> where T : nn.Module
{
    private readonly OrderedDict<string, T> _modules = [];
    private bool _registered;

    public ModuleDict() : base(nameof(ModuleDict<>))
    {
    }

    public int Count => _modules.Count;

    public bool IsReadOnly => false;

    public ICollection<string> Keys => _modules.Keys;

    public ICollection<T> Values => _modules.Values;

    public T this[string key]
    {
        get => _modules[key];
        set => _modules[key] = value;
    }

    public (string, T) this[int index]
    {
        get => _modules[index];
        set => _modules[index] = value;
    }

    public IEnumerable<T> values() => _modules.values();

    public IEnumerator<(string, T)> items() => _modules.items();

    public void Add(string key, T value) => _modules.Add(key, value);

    public void Add((string, T) item) => _modules.Add(item);

    public void Add(KeyValuePair<string, T> item) => _modules.Add(item);

    public void Insert(int index, (string, T) item) => _modules.Insert(index, item);

    public bool Remove(string key) => _modules.Remove(key);

    public bool Remove((string, T) item) => _modules.Remove(item);

    public bool Remove(KeyValuePair<string, T> item) => _modules.Remove(item);

    public void RemoveAt(int index) => _modules.RemoveAt(index);

    public void Clear() => _modules.Clear();

    public bool Contains((string, T) item) => _modules.Contains(item);

    public bool Contains(KeyValuePair<string, T> item) => _modules.Contains(item);

    public bool ContainsKey(string key) => _modules.ContainsKey(key);

    public bool TryGetValue(string key, [MaybeNullWhen(false)] out T value) => _modules.TryGetValue(key, out value);

    public int IndexOf((string, T) item) => _modules.IndexOf(item);

    public void CopyTo((string, T)[] array, int arrayIndex) => _modules.CopyTo(array, arrayIndex);

    public void CopyTo(KeyValuePair<string, T>[] array, int arrayIndex) => _modules.CopyTo(array, arrayIndex);

    public IEnumerator<(string, T)> GetEnumerator() => _modules.GetEnumerator();

    IEnumerator<KeyValuePair<string, T>> IEnumerable<KeyValuePair<string, T>>.GetEnumerator()
        => ((IEnumerable<KeyValuePair<string, T>>)_modules).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    protected override void RegisterComponents()
    {
        if (_registered)
        {
            return;
        }

        foreach (var (key, module) in _modules)
        {
            register_module(key, module);
        }

        _registered = true;
    }
}
