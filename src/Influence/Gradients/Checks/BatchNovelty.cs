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

    /// <summary>How many examples with something new are named at most.</summary>
    private const int Handful = 4;

    private readonly HashSet<string> _shapes = [];
    private readonly Dictionary<(LossKind Kind, string Name), HashSet<long>> _values = [];

    /// <summary>Notes the batch, and whether it has a shape or a value that no batch before had.</summary>
    /// <returns>Positions of examples with a value that is new, empty where only the shape is; null where nothing is.</returns>
    public IReadOnlyList<int>? News(ExampleBatch batch, LossKind kind)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var shape = string.Join(';', batch.Tensors.Select(t => string.Join(',', t.shape.Skip(1))));

        // The number of examples is a part of it: a model may go another way with the few of the last batch.
        var isNew = _shapes.Count < Most && _shapes.Add($"{kind} {batch.Count} {shape}");
        var found = new List<int>();
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
                var position = 0;
                foreach (var value in whole.to_type(ScalarType.Int64).cpu().data<long>())
                {
                    if (seen.Count < Most && seen.Add(value))
                    {
                        isNew = true;
                        if (found.Count < Handful)
                        {
                            found.Add(position);
                        }
                    }

                    position++;
                }
            }
        }

        return isNew ? found : null;
    }
}
