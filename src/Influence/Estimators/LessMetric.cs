using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// LESS: the query's gradient as it is meets the step that Adam would take next on the training example alone; both of length one for
/// cosines. No inner product, since the step is not linear in the gradient. Owns its tensors.
/// </summary>
internal sealed class LessMetric : GradientMetric
{
    // [P_k] a part of a block; null: the weight does not move
    private readonly Tensor?[][] _first;
    private readonly Tensor?[][] _second;
    private readonly Rule[][] _rules;
    private readonly long[][] _sizes;
    private readonly bool _cosine;
    private readonly double[][] _weights; // of a part, its learning rate or share

    private LessMetric(GradientSession session, bool cosine, Func<string, double> weight)
    {
        _sizes = [.. session.Parts.Select(block => block.Select(part => part.Count).ToArray())];
        _first = [.. _sizes.Select(block => new Tensor?[block.Length])];
        _second = [.. _sizes.Select(block => new Tensor?[block.Length])];
        _rules = [.. _sizes.Select(block => new Rule[block.Length])];
        _weights = [.. session.Parts.Select(block => block.Select(part => weight(part.Parameter.Name)).ToArray())];
        _cosine = cosine;
    }

    /// <summary>Reads a checkpoint's moments, in the order of the session's blocks.</summary>
    /// <exception cref="InfluenceException">A parameter was not moved by Adam or AdamW.</exception>
    public static LessMetric Of(
        GradientSession session,
        Checkpoint checkpoint,
        TracIn.UpdateDirection direction,
        TracIn.GradientSimilarity similarity,
        Func<string, double> weight
    )
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var file = SafetensorsTensors.OpenAny(checkpoint.FilePath);
        var metric = new LessMetric(session, similarity == TracIn.GradientSimilarity.Cosine, weight);
        try
        {
            for (var k = 0; k < session.Parts.Count; k++)
            {
                for (var p = 0; p < session.Parts[k].Count; p++)
                {
                    metric.Read(k, p, session.Parts[k][p], session, checkpoint, file, direction);
                }
            }

            return metric;
        }
        catch
        {
            metric.Dispose();
            throw;
        }
    }

    public override BatchGradients Apply(BatchGradients gradients) => Written(gradients, (_, _, g) => g.clone(), _weights);

    public override BatchGradients Meet(BatchGradients gradients) => Written(gradients, Step, null);

    public override void Dispose()
    {
        foreach (var moment in _first.Concat(_second).SelectMany(block => block))
        {
            moment?.Dispose();
        }

        base.Dispose();
    }

    private void Read(
        int k,
        int p,
        ParameterPart part,
        GradientSession session,
        Checkpoint checkpoint,
        SafetensorsTensors file,
        TracIn.UpdateDirection direction
    )
    {
        var name = part.Parameter.Name;
        var made = checkpoint.Made.Of(name);
        if (
            checkpoint.Rates.Of(name).LearningRate == 0
            && (made is not null || (checkpoint.Rates.AreByName && file.Entries.ContainsKey(name)))
        )
        {
            return;
        }

        if (made is not { IsAdam: true, Maximize: false })
        {
            throw new InfluenceException(
                $"LESS's direction is the step of Adam or AdamW; the checkpoint {checkpoint.FilePath} "
                    + (
                        made is null ? $"does not say how its optimizer moved the parameter {name}"
                        : made.Maximize ? "maximizes"
                        : $"was made by {made}"
                    )
                    + ". "
                    + "Write Direction = TracIn.UpdateDirection.Optimizer, which knows SGD too, or Sgd."
            );
        }

        var (first, second) = checkpoint.Made.Moments(file, checkpoint.FilePath, name);
        _first[k][p] = Own(first);
        _second[k][p] = Own(second);
        _rules[k][p] =
            direction == TracIn.UpdateDirection.LessCode
                ? new Rule(0.9, 0.999, 1, 1, 0, 1e-8)
                : new Rule(
                    made.Beta1,
                    made.Beta2,
                    1 - Math.Pow(made.Beta1, made.Step + 1),
                    1 - Math.Pow(made.Beta2, made.Step + 1),
                    made.Eps,
                    0
                );

        Tensor Own(Tensor moment) =>
            part.Of(OptimizerRecord.Flat(moment, checkpoint.FilePath, name, part.Parameter.Count))
                .clone()
                .to(session.Dtype, session.Device)
                .DetachFromDisposeScope();
    }

    private Tensor Step(int k, int p, Tensor g)
    {
        if (_first[k][p] is not { } first || _second[k][p] is not { } second)
        {
            return zeros_like(g);
        }

        var rule = _rules[k][p];
        var m = ((first * Kept(rule.Beta1)) + (g * Kept(1 - rule.Beta1))) / Kept(rule.FirstCorrection); // [B, P_k]
        var v = ((second * Kept(rule.Beta2)) + (g.Squared() * Kept(1 - rule.Beta2))) / Kept(rule.SecondCorrection);
        return m / ((v + Kept(rule.EpsInside)).sqrt() + Kept(rule.Eps));
    }

    /// <summary>A map of every part, written out over all blocks, of length one for cosines; what the batch did not use has gradients of
    /// zero.</summary>
    private BatchGradients Written(BatchGradients gradients, Func<int, int, Tensor, Tensor> map, double[][]? factors)
    {
        var scope = NewDisposeScope();
        try
        {
            var parts = _sizes.Select(block => new Tensor[block.Length]).ToArray();
            for (var k = 0; k < parts.Length; k++)
            {
                using var one = NewDisposeScope();
                var dense = gradients.Blocks[k]?.Dense();
                for (var p = 0; p < parts[k].Length; p++)
                {
                    parts[k][p] = map(k, p, dense?[p] ?? zeros([gradients.Count, _sizes[k][p]], gradients.Dtype, gradients.Device))
                        .MoveToOuterDisposeScope();
                }

                gradients.Blocks[k]?.Release();
            }

            if (_cosine)
            {
                using var one = NewDisposeScope();
                var norms = BlockGradients.SquaredNorms([.. parts.SelectMany(block => block)]).sqrt_().unsqueeze(1); // [B, 1]
                norms.masked_fill_(norms.eq(Kept(0)), Kept(1));
                foreach (var part in parts.SelectMany(block => block))
                {
                    part.div_(norms);
                }
            }

            for (var k = 0; factors is not null && k < parts.Length; k++)
            {
                for (var p = 0; p < parts[k].Length; p++)
                {
                    parts[k][p].mul_(Kept(factors[k][p]));
                }
            }

            // Views: what a block releases stays here, for it is read again.
            return new BatchGradients(scope, gradients.Ids, gradients.Dtype, gradients.Device)
            {
                Blocks = [.. parts.Select(block => new DenseGradients(gradients.Count, () => [.. block.Select(part => part.alias())]))],
            };
        }
        catch
        {
            scope.Dispose();
            throw;
        }
    }

    /// <param name="Beta1">Of the first moment.</param>
    /// <param name="Beta2">Of the second moment.</param>
    /// <param name="FirstCorrection">What the first moment is divided by.</param>
    /// <param name="SecondCorrection">What the second moment is divided by.</param>
    /// <param name="Eps">Outside of the root.</param>
    /// <param name="EpsInside">Inside of the root.</param>
    private readonly record struct Rule(
        double Beta1,
        double Beta2,
        double FirstCorrection,
        double SecondCorrection,
        double Eps,
        double EpsInside
    );
}
