using System.Collections;
using System.Diagnostics.CodeAnalysis;
using TorchSharp.Interop;

namespace TorchSharp.Utils;

/// <summary>The elements of a tensor on the CPU, in row-major order, read and written in place.</summary>
[SuppressMessage("Usage", "CA2201", Justification = "TorchSharp reports a position outside as IndexOutOfRangeException.")]
public sealed class TensorAccessor<T> : IDisposable, IEnumerable<T>
    where T : unmanaged
{
    private readonly unsafe T* _first;
    private readonly long[] _shape;
    private readonly long[] _strides;
    private readonly bool _contiguous;
    private torch.Tensor? _tensor;

    internal unsafe TensorAccessor(torch.Tensor tensor)
    {
        if (!tensor.is_cpu())
        {
            throw new InvalidOperationException(
                "Reading data from non-CPU memory is not supported. Move or copy the tensor to the cpu before reading.");
        }

        _tensor = tensor;
        _shape = tensor.shape;
        _strides = tensor.stride();
        _contiguous = tensor.is_contiguous();
        Count = tensor.NumberOfElements;
        _first = (T*)tensor.DataPointer();
    }

    public long Count { get; }

    public bool IsReadOnly => false;

    /// <summary>By one position in row-major order, or by one index for each dimension.</summary>
    public unsafe T this[params long[] indices]
    {
        get
        {
            using var use = Open();
            return _first[OffsetOf(indices)];
        }

        set
        {
            using var use = Open();
            _first[OffsetOf(indices)] = value;
        }
    }

    public static bool operator ==(TensorAccessor<T> left, TensorAccessor<T> right) =>
        left.Count == right.Count && left.SequenceEqual(right);

    public static bool operator !=(TensorAccessor<T> left, TensorAccessor<T> right) => !(left == right);

    public T[] ToArray()
    {
        var array = new T[Count];
        CopyTo(array);
        return array;
    }

    /// <summary>An array with as many dimensions as the tensor has, and at least one.</summary>
    public Array ToNDArray()
    {
        if (_shape.Length < 2)
        {
            return ToArray();
        }

        var array = Array.CreateInstance(typeof(T), _shape);
        ToArray().AsSpan().CopyTo(ArrayElements.Of<T>(array));
        return array;
    }

    public void CopyTo(T[] array, int arrayIndex = 0, long tensorIndex = 0) =>
        CopyTo(array.AsSpan(), arrayIndex, tensorIndex);

    public unsafe void CopyTo(Span<T> array, int arrayIndex = 0, long tensorIndex = 0)
    {
        using var use = Open();
        var target = array[arrayIndex..];
        var count = (int)Math.Min(target.Length, Count - CheckStart(tensorIndex));
        if (_contiguous)
        {
            new ReadOnlySpan<T>(_first + tensorIndex, count).CopyTo(target);
            return;
        }

        for (var i = 0; i < count; i++)
        {
            target[i] = _first[OffsetOf(tensorIndex + i)];
        }
    }

    public void CopyFrom(T[] array, int arrayIndex = 0, long tensorIndex = 0) =>
        CopyFrom(array.AsSpan(), arrayIndex, tensorIndex);

    public unsafe void CopyFrom(ReadOnlySpan<T> array, int arrayIndex = 0, long tensorIndex = 0)
    {
        using var use = Open();
        var source = array[arrayIndex..];
        var count = (int)Math.Min(source.Length, Count - CheckStart(tensorIndex));
        if (_contiguous)
        {
            source[..count].CopyTo(new Span<T>(_first + tensorIndex, count));
            return;
        }

        for (var i = 0; i < count; i++)
        {
            _first[OffsetOf(tensorIndex + i)] = source[i];
        }
    }

    public IEnumerator<T> GetEnumerator()
    {
        for (var i = 0L; i < Count; i++)
        {
            yield return At(i);
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public override bool Equals(object? obj) => obj is TensorAccessor<T> other && this == other;

    public override int GetHashCode() => _tensor?.GetHashCode() ?? 0;

    public void Dispose() => _tensor = null;

    internal unsafe T At(long position)
    {
        using var use = Open();
        return _first[OffsetOf(CheckPosition(position))];
    }

    // Keeps the memory from being freed while it is read or written.
    private HandleUse Open()
    {
        ObjectDisposedException.ThrowIf(_tensor is null, this);
        return _tensor.Use();
    }

    private long OffsetOf(long[] indices)
    {
        if (indices.Length == 1)
        {
            return OffsetOf(CheckPosition(indices[0]));
        }

        var offset = 0L;
        for (var d = 0; d < _shape.Length; d++)
        {
            if (indices[d] < 0 || indices[d] >= _shape[d])
            {
                throw new IndexOutOfRangeException($"{indices[d]} >= {_shape[d]} in dimension {d}.");
            }

            offset += indices[d] * _strides[d];
        }

        return offset;
    }

    private long OffsetOf(long position)
    {
        if (_contiguous)
        {
            return position;
        }

        var offset = 0L;
        for (var d = _shape.Length - 1; d >= 0; d--)
        {
            position = Math.DivRem(position, _shape[d], out var index);
            offset += index * _strides[d];
        }

        return offset;
    }

    private long CheckPosition(long position) => position < Count && position >= 0
        ? position
        : throw new IndexOutOfRangeException($"{position} in a collection of {Count} elements.");

    private long CheckStart(long position)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(position);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(position, Math.Max(0, Count - 1));
        return position;
    }
}
