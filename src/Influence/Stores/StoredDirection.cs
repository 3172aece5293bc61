using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>What becomes of a training example's gradient, exactly and entry by entry, before it is projected: with a step's moments the
/// update that Adam would make of it.</summary>
internal sealed class StoredDirection
{
    private const string First = "/first moment";
    private const string Second = "/second moment";
    private const string Settings = "/settings";

    private readonly (Tensor First, Tensor Second, double Beta1, double Beta2, double Eps, double Next)[][] _parts;
    private readonly GradientProjection.UpdateDirection _kind;

    /// <param name="session">Open; its parts are what the moments are of.</param>
    /// <param name="kind">Not the gradient itself.</param>
    /// <param name="matrices">What <see cref="Read"/> gave.</param>
    public StoredDirection(GradientSession session, GradientProjection.UpdateDirection kind, IReadOnlyDictionary<string, Tensor> matrices)
    {
        _kind = kind;
        _parts =
        [
            .. session.Parts.Select(parts =>
                parts
                    .Select(part =>
                    {
                        var settings = matrices[part.Name + Settings].data<double>().ToArray();
                        return (Own(part.Name + First), Own(part.Name + Second), settings[0], settings[1], settings[2], settings[3]);
                    })
                    .ToArray()
            ),
        ];

        Tensor Own(string name) => matrices[name].to(session.Dtype, session.Device);
    }

    /// <summary>A checkpoint's moments by part, as tensors of the store's own file.</summary>
    /// <exception cref="InfluenceException">Adam did not make it, or moments are missing.</exception>
    public static List<(string Name, Tensor Value)> Read(GradientSession session, Checkpoint checkpoint)
    {
        using var file = SafetensorsTensors.OpenAny(checkpoint.FilePath);
        var tensors = new List<(string, Tensor)>();
        foreach (var part in session.Parts.SelectMany(parts => parts))
        {
            var name = part.Parameter.Name;
            if (checkpoint.Made.Of(name) is not { IsAdam: true, Step: > 0 } adam)
            {
                throw new InfluenceException(
                    $"The checkpoint {checkpoint.FilePath} holds no moments of Adam for {PlainText.Name(name)}. Save it after a step of "
                        + "Adam or AdamW with Checkpoint.Save(path, model, optimizer, step), "
                        + "or leave Direction out."
                );
            }

            var (first, second) = (
                Moment("influence.exp_avg:"),
                Moment(adam.AmsGrad ? "influence.max_exp_avg_sq:" : "influence.exp_avg_sq:")
            );
            tensors.Add((part.Name + First, first));
            tensors.Add((part.Name + Second, second));
            tensors.Add((part.Name + Settings, tensor(new[] { adam.Beta1, adam.Beta2, adam.Eps, adam.Step + 1.0 })));

            Tensor Moment(string prefix)
            {
                var moment = file.Entries.ContainsKey(prefix + name)
                    ? file.Read(prefix + name)
                    : throw new InfluenceException(
                        $"The checkpoint {checkpoint.FilePath} has no {prefix[10..^1]} of {PlainText.Name(name)}."
                    );
                return moment.numel() == part.Parameter.Count && moment.isfinite().all().item<bool>()
                    ? part.Of(moment.reshape(-1)).clone()
                    : throw new InfluenceException(
                        $"The checkpoint {checkpoint.FilePath} has a moment of {PlainText.Name(name)} with {moment.numel()} numbers, all "
                            + $"finite; {part.Parameter.Count} are expected."
                    );
            }
        }

        return tensors;
    }

    /// <summary>The same for a whole block, written out.</summary>
    /// <param name="block">A batch's gradients.</param>
    /// <param name="index">Its place in the session.</param>
    /// <param name="isQuery">Of the update Adam makes only training examples have one.</param>
    public BlockGradients Apply(BlockGradients block, int index, bool isQuery)
    {
        if (isQuery && _kind == GradientProjection.UpdateDirection.AdamUpdate)
        {
            return block;
        }

        return new DenseGradients(block.Examples, () => [.. block.Dense().Zip(_parts[index], Moved)]);
    }

    private Tensor Moved(Tensor gradients, (Tensor First, Tensor Second, double Beta1, double Beta2, double Eps, double Next) own)
    {
        using var scope = NewDisposeScope();
        using Scalar eps = Kept(own.Eps),
            one = Kept(1);
        if (_kind == GradientProjection.UpdateDirection.AdamScaled)
        {
            using Scalar correction = Kept(1 / (1 - Math.Pow(own.Beta2, own.Next - 1)));
            return (gradients / own.Second.mul(correction).sqrt_().add_(eps)).MoveToOuterDisposeScope();
        }

        using Scalar oldFirst = Kept(own.Beta1 / (1 - Math.Pow(own.Beta1, own.Next))),
            newFirst = Kept((1 - own.Beta1) / (1 - Math.Pow(own.Beta1, own.Next)));
        using Scalar oldSecond = Kept(own.Beta2 / (1 - Math.Pow(own.Beta2, own.Next))),
            newSecond = Kept((1 - own.Beta2) / (1 - Math.Pow(own.Beta2, own.Next)));
        var m = gradients.mul(newFirst).add_(own.First.mul(oldFirst), one);
        var v = gradients.Squared().mul_(newSecond).add_(own.Second.mul(oldSecond), one);
        return m.div_(v.sqrt_().add_(eps)).MoveToOuterDisposeScope();
    }
}
