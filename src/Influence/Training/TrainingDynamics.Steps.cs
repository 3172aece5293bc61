using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Training;

// How a step is measured and kept.
public sealed partial class TrainingDynamics
{
    private static long[] Batch(IReadOnlyList<long> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        return ids as long[] ?? [.. ids];
    }

    private void Measure(Tensor logits, Tensor labels, Tensor? mask, int batch)
    {
        var (classes, isDouble) = ((int)logits.shape[^1], logits.dtype == ScalarType.Float64);
        var u = (isDouble || logits.dtype == ScalarType.Float32 ? logits : logits.to_type(ScalarType.Float32)).contiguous(); // [B, ..., C]
        var y = Here(labels).contiguous();                                              // [B, ...]
        var counts = mask is null ? null : Here(mask).to_type(ScalarType.Bool).contiguous(); // [B, ...]
        var labelValues = MemoryMarshal.Cast<byte, long>(y.bytes);
        var countValues = counts is null ? [] : MemoryMarshal.Cast<byte, bool>(counts.bytes);
        if (isDouble)
        {
            _measures.Measure<double>(MemoryMarshal.Cast<byte, double>(u.bytes), labelValues, countValues, batch, classes, IgnoredLabel);
        }
        else
        {
            _measures.Measure<float>(MemoryMarshal.Cast<byte, float>(u.bytes), labelValues, countValues, batch, classes, IgnoredLabel);
        }

        // The spans read the tensors' memory.
        GC.KeepAlive(u);
        GC.KeepAlive(y);
        GC.KeepAlive(counts);
    }

    private static Tensor Here(Tensor tensor) => tensor.device_type == DeviceType.CPU ? tensor : tensor.cpu();

    /// <summary>Fetches every step that waits on another device. A step that is wrong is dropped and named; those behind it stay.</summary>
    private void Fetch()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        while (_waiting.TryDequeue(out var step))
        {
            using (step.Packed)
            {
                OutputTensors.Unpack(step.Packed, _measures);
            }

            Keep(step.Ids, Classes);
        }
    }

    private void Keep(long[] ids, long classes)
    {
        StepChecks.RunMeasures(ids, _measures, classes, IgnoredLabel, _log.Steps + 1);
        Classes = classes;
        var empty = 0;
        for (var i = 0; i < ids.Length; i++)
        {
            if (_measures.Positions[i] == 0)
            {
                empty++;
                continue;
            }

            // The share may have been rounded to float32 on its device.
            _log.Add(NumberOf(ids[i]), _measures, i, _measures.CorrectShare[i] >= CorrectShare - 1e-6);
        }

        _log.EndStep(empty);
    }

    private int NumberOf(long id)
    {
        if (!_numbers.TryGetValue(id, out var number))
        {
            number = _ids.Count;
            _ids.Add(id);
            _numbers.Add(id, number);
        }

        return number;
    }

    /// <summary>A step that was measured on its device and not fetched yet.</summary>
    /// <param name="Ids">The examples.</param>
    /// <param name="Packed"><c>[6, B]</c>.</param>
    private sealed record WaitingStep(long[] Ids, Tensor Packed);
}
