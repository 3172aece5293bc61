using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>What a recorder checks of a step before it keeps anything of it.</summary>
internal static class StepChecks
{
    /// <summary>Shapes, dtypes and ids, without reading a tensor.</summary>
    public static void Run(long[] ids, Tensor logits, Tensor labels, Tensor? mask, long classes)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(labels);
        var shape = logits.shape;
        if (shape.Length < 2 || !shape.AsSpan(0, shape.Length - 1).SequenceEqual(labels.shape))
        {
            throw new InfluenceException(
                $"Logits [B, C] with labels [B] are expected, or [B, ..., C] with [B, ...]; found logits {Shape(logits)} and labels "
                    + $"{Shape(labels)}."
            );
        }

        var problems = new List<string>();
        if (!logits.is_floating_point())
        {
            problems.Add($"Logits are floating point, before the softmax; found {logits.dtype}.");
        }

        if (labels.dtype != ScalarType.Int64)
        {
            problems.Add($"Labels are class indices of type Int64; found {labels.dtype}. Write labels.to_type(ScalarType.Int64).");
        }

        if (mask is not null && !mask.shape.SequenceEqual(labels.shape))
        {
            problems.Add($"The mask has the shape of the labels, {Shape(labels)}; found {Shape(mask)}.");
        }

        if (shape[^1] < 2)
        {
            problems.Add(
                "Logits have at least two classes. For one logit z write the two logits 0 and z: "
                    + "torch.stack([torch.zeros_like(z), z], -1)."
            );
        }

        if (classes > 0 && shape[^1] != classes)
        {
            problems.Add(
                $"The logits have {shape[^1]} classes; the steps before had {classes}. A recorder belongs to one run: make a new "
                    + "one for another model."
            );
        }

        if (shape[0] > 0 && labels.numel() == 0)
        {
            problems.Add($"Each example has at least one position; found labels {Shape(labels)}.");
        }

        problems.AddRange(IdProblems(ids, shape[0], "the logits have rows"));
        InfluenceException.ThrowIfAny(problems);
    }

    /// <summary>Shapes, dtypes and ids of gradient norms.</summary>
    public static void RunNorms(long[] ids, Tensor norms)
    {
        if (norms.dim() != 1 || !norms.is_floating_point())
        {
            throw new InfluenceException(
                $"Gradient norms are floating point [B], one for each example; found {norms.dtype} {Shape(norms)}."
            );
        }

        InfluenceException.ThrowIfAny(IdProblems(ids, norms.shape[0], "there are norms"));
    }

    /// <summary>Labels in range, and nothing that is no number.</summary>
    public static void RunMeasures(long[] ids, OutputMeasures measures, long classes, long ignored, long step)
    {
        var wrong = ids.Where((_, i) => measures.Positions[i] == OutputMeasures.BadLabel).ToList();
        var broken = ids.Where((_, i) => measures.Positions[i] > 0 && !measures.IsFinite(i)).ToList();
        if (wrong.Count > 0)
        {
            throw new InfluenceException(
                $"Labels go from 0 to {classes - 1} (the logits have {classes} classes), or are {ignored} where a position does not "
                    + $"count; those of examples {InfluenceException.List(wrong)} do not. Nothing of step {step} was recorded."
            )
            {
                ExampleIds = wrong,
            };
        }

        if (broken.Count > 0)
        {
            throw new InfluenceException(
                $"The logits of examples {InfluenceException.List(broken)} are NaN or infinite in step {step}: the run has "
                    + "diverged, or an input is broken. Nothing of the step was recorded."
            )
            {
                ExampleIds = broken,
            };
        }
    }

    /// <summary>An id may come twice: a sampler with replacement draws so, and each of its rows is a presentation.</summary>
    private static List<string> IdProblems(long[] ids, long rows, string what) =>
        ids.Length == rows && rows > 0
            ? []
            : [$"One id for each example is expected, and at least one; found {ids.Length} ids where {what}: {rows}."];

    private static string Shape(Tensor tensor) => $"[{string.Join(", ", tensor.shape)}]";
}
