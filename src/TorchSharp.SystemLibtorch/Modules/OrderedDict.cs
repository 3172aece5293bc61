using System.Collections;
using System.Diagnostics.CodeAnalysis;

namespace TorchSharp.Utils;

/// <summary>A dictionary that enumerates its entries in the order in which they were added.</summary>
/// <remarks>
/// Modules keep their parameters in it: the order of <c>named_parameters()</c> is part of their contract.
/// </remarks>
public class OrderedDict<TKey, TValue> : IDictionary<TKey, TValue>, IList<(TKey, TValue)>
    where TKey : notnull
{
    private readonly List<(TKey Key, TValue Value)> _entries = [];
    private readonly Dictionary<TKey, TValue> _lookup = [];

    public int Count => _entries.Count;

    public bool IsReadOnly => false;

    public ICollection<TKey> Keys => _entries.ConvertAll(entry => entry.Key);

    public ICollection<TValue> Values => _entries.ConvertAll(entry => entry.Value);

    public (TKey, TValue) this[int index]
    {
        get => _entries[index];
        set
        {
            // The slot may change its key as well, so the old one must not stay behind in the lookup.
            _lookup.Remove(_entries[index].Key);
            _lookup[value.Item1] = value.Item2;
            _entries[index] = value;
        }
    }

    public TValue this[TKey key]
    {
        get => _lookup[key];
        set
        {
            if (_lookup.ContainsKey(key))
            {
                _entries[PositionOf(key)] = (key, value);
            }
            else
            {
                _entries.Add((key, value));
            }

            _lookup[key] = value;
        }
    }

    public IEnumerable<TValue> values() => Values;

    public IEnumerator<(TKey, TValue)> items() => GetEnumerator();

    public void Add(TKey key, TValue value)
    {
        _lookup.Add(key, value);
        _entries.Add((key, value));
    }

    public void Add((TKey, TValue) item) => Add(item.Item1, item.Item2);

    public void Add(KeyValuePair<TKey, TValue> item) => Add(item.Key, item.Value);

    public void Insert(int index, (TKey, TValue) item)
    {
        _lookup.Add(item.Item1, item.Item2);
        _entries.Insert(index, item);
    }

    public bool Contains((TKey, TValue) item) => _entries.Contains(item);

    public bool Contains(KeyValuePair<TKey, TValue> item) => _lookup.ContainsKey(item.Key);

    public bool ContainsKey(TKey key) => _lookup.ContainsKey(key);

    public bool TryGetValue(TKey key, [MaybeNullWhen(false)] out TValue value) => _lookup.TryGetValue(key, out value);

    public int IndexOf((TKey, TValue) item) => _entries.IndexOf(item);

    public bool Remove(TKey key)
    {
        if (!_lookup.Remove(key))
        {
            return false;
        }

        _entries.RemoveAt(PositionOf(key));
        return true;
    }

    public bool Remove((TKey, TValue) item) => Remove(item.Item1);

    public bool Remove(KeyValuePair<TKey, TValue> item) => Remove(item.Key);

    public void RemoveAt(int index) => Remove(_entries[index].Key);

    public void Clear()
    {
        _entries.Clear();
        _lookup.Clear();
    }

    public void CopyTo((TKey, TValue)[] array, int arrayIndex) => _entries.CopyTo(array, arrayIndex);

    public void CopyTo(KeyValuePair<TKey, TValue>[] array, int arrayIndex)
    {
        foreach (var (key, value) in _entries)
        {
            array[arrayIndex++] = new(key, value);
        }
    }

    public IEnumerator<(TKey, TValue)> GetEnumerator() => _entries.GetEnumerator();

    IEnumerator<KeyValuePair<TKey, TValue>> IEnumerable<KeyValuePair<TKey, TValue>>.GetEnumerator()
        => _entries.Select(entry => new KeyValuePair<TKey, TValue>(entry.Key, entry.Value)).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private int PositionOf(TKey key)
        => _entries.FindIndex(entry => EqualityComparer<TKey>.Default.Equals(entry.Key, key));
}
