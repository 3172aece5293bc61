using System.Runtime.ExceptionServices;
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
        var y = Here(labels).contiguous(); // [B, ...]
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

    /// <summary>Keeps a call's numbers on their device, until there are enough of them.</summary>
    private void Wait(Waiting waiting)
    {
        _waiting.Enqueue(waiting);
        _waitingSteps += waiting.IsStep ? 1 : 0;
        if (Math.Max(_waitingSteps, _waiting.Count - _waitingSteps) >= FetchEverySteps)
        {
            Fetch();
        }
    }

    /// <summary>Fetches everything that waits on another device. A call that is wrong is dropped and named once the others are
    /// kept.</summary>
    private void Fetch()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        Throw(FetchAll());
    }

    /// <summary>Fetches, in the order of the calls, and returns what was wrong.</summary>
    private List<InfluenceException> FetchAll()
    {
        var wrong = new List<InfluenceException>();
        while (_waiting.TryDequeue(out var waiting))
        {
            using var values = waiting.Values;
            _waitingSteps -= waiting.IsStep ? 1 : 0;
            try
            {
                if (waiting.IsStep)
                {
                    OutputTensors.Unpack(values, _measures);
                    Keep(waiting.Ids, Classes);
                }
                else
                {
                    KeepNorms(waiting.Ids, values);
                }
            }
            catch (InfluenceException exception)
            {
                wrong.Add(exception);
            }
        }

        return wrong;
    }

    /// <summary>Keeps the present call before what was wrong with earlier ones is thrown.</summary>
    private static void Finish(List<InfluenceException> wrong, Action keep)
    {
        try
        {
            keep();
        }
        catch (InfluenceException exception)
        {
            wrong.Add(exception);
        }

        Throw(wrong);
    }

    private static void Throw(List<InfluenceException> wrong)
    {
        if (wrong.Count == 1)
        {
            ExceptionDispatchInfo.Throw(wrong[0]);
        }

        if (wrong.Count > 1)
        {
            throw new InfluenceException(string.Join(' ', wrong.Select(w => w.Message)), wrong[0])
            {
                ExampleIds = [.. wrong.SelectMany(w => w.ExampleIds).Distinct()],
            };
        }
    }

    private void KeepNorms(long[] ids, Tensor norms)
    {
        using var scope = NewDisposeScope();
        var values = norms.detach().to_type(ScalarType.Float64).cpu().contiguous().data<double>().ToArray();
        var bad = ids.Where((_, i) => !double.IsFinite(values[i]) || values[i] < 0).ToList();
        if (bad.Count > 0)
        {
            throw new InfluenceException(
                $"Gradient norms are at least 0 and finite; those of examples {InfluenceException.List(bad)} are not. Nothing of the call "
                    + "was recorded."
            )
            {
                ExampleIds = bad,
            };
        }

        for (var i = 0; i < ids.Length; i++)
        {
            _norms.Add(NumberOf(ids[i]), (float)values[i]);
        }

        _norms.EndCall(_log.Steps);
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

    /// <summary>A step that was measured on its device, or its gradient norms, not fetched yet.</summary>
    /// <param name="Ids">The examples.</param>
    /// <param name="Values"><c>[6, B]</c> of a step; norms <c>[B]</c>.</param>
    /// <param name="IsStep">Whether it is a step.</param>
    private sealed record Waiting(long[] Ids, Tensor Values, bool IsStep);
}
