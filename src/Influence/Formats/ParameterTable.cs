using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>
/// Something for each parameter that an optimizer holds, found again by the parameter itself: two parameters over one memory, such as a
/// weight and its transposed view, are two to an optimizer and have a rate and a state each.
/// </summary>
/// <typeparam name="T">What is kept.</typeparam>
internal sealed class ParameterTable<T>
{
    private readonly Dictionary<(nint, long, long), List<(Tensor Parameter, T Value)>> _over = [];

    /// <summary>Keeps something for a parameter, in place of what was kept before.</summary>
    public void Set(Tensor parameter, T value)
    {
        var place = PlaceOf(parameter);
        if (!_over.TryGetValue(place, out var list))
        {
            _over[place] = list = [];
        }

        list.RemoveAll(other => SameTensor.Are(other.Parameter, parameter));
        list.Add((parameter, value));
    }

    /// <summary>What was kept for a parameter.</summary>
    /// <returns>Whether there is anything.</returns>
    public bool TryGet(Tensor parameter, out T value)
    {
        foreach (var (other, found) in _over.GetValueOrDefault(PlaceOf(parameter)) ?? [])
        {
            if (SameTensor.Are(other, parameter))
            {
                value = found;
                return true;
            }
        }

        value = default!;
        return false;
    }

    /// <summary>Narrows the search: where the numbers lie, and of types whose address cannot be read how many there are.</summary>
    private static (nint, long, long) PlaceOf(Tensor parameter) =>
        parameter.dtype switch
        {
            ScalarType.Float32 => (parameter.storage<float>().data_ptr(), parameter.storage_offset(), parameter.numel()),
            ScalarType.Float64 => (parameter.storage<double>().data_ptr(), parameter.storage_offset(), parameter.numel()),
            var other => (-1 - (int)other, 0, parameter.numel()),
        };
}
