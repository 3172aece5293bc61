using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Tells batches apart by what a model may branch on: the shapes of their tensors, and the values of tensors with one number an
/// example (whole numbers and booleans themselves, of others the sign), such as flags, lengths and labels.
/// </summary>
internal sealed class BatchNovelty
{
    /// <summary>Tensors with more values than this are no flags; shapes that go on changing are not news.</summary>
    private const int Most = 16;

    private const int Handful = 4;

    private readonly HashSet<string> _shapes = [];
    private readonly Dictionary<(LossKind Kind, string Name), HashSet<long>> _values = [];

    /// <summary>Whether the batch has a shape or a value that no batch before had; it is noted.</summary>
    public bool IsNew(ExampleBatch batch, LossKind kind)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        // A handful of examples, as a plan looks at, shows less than a batch.
        var shape = string.Join(';', batch.Tensors.Select(t => string.Join(',', t.shape.Skip(1))));
        var isNew = _shapes.Count < Most && _shapes.Add($"{kind} {Math.Min(batch.Count, Handful)} {shape}");
        for (var k = 0; k < batch.Tensors.Count; k++)
        {
            var tensor = batch.Tensors[k];
            if (tensor.dim() == 0 || tensor.shape[0] != batch.Count || tensor.numel() != batch.Count)
            {
                continue;
            }

            if (!_values.TryGetValue((kind, batch.Names[k]), out var seen))
            {
                _values[(kind, batch.Names[k])] = seen = [];
            }

            if (seen.Count < Most)
            {
                var values = tensor.detach().reshape(-1);
                var whole = values.is_floating_point() || values.is_complex() ? values.sign() : values;
                foreach (var value in whole.to_type(ScalarType.Int64).cpu().data<long>())
                {
                    isNew |= seen.Count < Most && seen.Add(value);
                }
            }
        }

        return isNew;
    }
}
