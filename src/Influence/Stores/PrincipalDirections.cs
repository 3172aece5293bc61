using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// The directions in which the data's activations and output gradients are largest: eigenvectors of A = sum of a a' and S = sum of d d'
/// over all positions of all training examples.
/// </summary>
internal static class PrincipalDirections
{
    public const string Outputs = "/outputs";
    public const string Inputs = "/inputs";

    /// <summary>The matrices of all layers that a side of is projected and that are sums of outer products, by name; in the current
    /// scope.</summary>
    public static List<(string Name, Tensor Value)> Of(
        GradientSession session,
        Examples train,
        IReadOnlyList<StoredLayer> layers,
        ProgressReporter reporter
    )
    {
        using var scope = NewDisposeScope();
        var sums = new Dictionary<string, (Tensor Outputs, Tensor Inputs)>();
        var byName = layers.ToDictionary(layer => layer.Name);
        foreach (var batch in session.Batches(train, LossKind.Training))
        {
            reporter.Token.ThrowIfCancellationRequested();
            using var gradients = session.Capture(batch, LossKind.Training);
            for (var k = 0; k < gradients.Blocks.Count; k++)
            {
                var layer = byName[session.Parts[k][0].Name];
                if (gradients.Blocks[k] is not { } block || block.SidesFor(layer.Outputs, layer.Inputs) is not { } sides)
                {
                    continue;
                }

                if (!sums.TryGetValue(layer.Name, out var own))
                {
                    own = (Zeros(layer.Outputs, layer.KeptOutputs), Zeros(layer.Inputs, layer.KeptInputs));
                    sums.Add(layer.Name, own);
                    scope.Attach(own.Outputs, own.Inputs);
                }

                AddTo(own.Outputs, sides.OutputGradient);
                AddTo(own.Inputs, sides.Activation);
                block.Release();
            }

            reporter.Add(batch.Count);
        }

        var found = new List<(string Name, Tensor Value)>();
        foreach (var (name, (outputs, inputs)) in sums)
        {
            Add(name + Outputs, outputs, byName[name].KeptOutputs);
            Add(name + Inputs, inputs, byName[name].KeptInputs);
        }

        found.ForEach(one => one.Value.MoveToOuterDisposeScope());
        return found;

        void Add(string name, Tensor sum, long kept)
        {
            if (sum.numel() > 0)
            {
                var (_, vectors) = linalg.eigh(sum); // ascending
                found.Add((name, vectors.narrow(1, vectors.shape[1] - kept, kept).flip(1).contiguous().cpu()));
            }
        }

        Tensor Zeros(long size, long kept) =>
            kept == size ? zeros([0], ScalarType.Float64) : zeros([size, size], ScalarType.Float64, session.Device);
    }

    private static void AddTo(Tensor sum, Tensor values)
    {
        if (sum.numel() > 0)
        {
            using var scope = NewDisposeScope();
            var rows = values.reshape(-1, values.shape[^1]);
            using Scalar one = Kept(1);
            sum.add_(rows.t().mm(rows).to_type(ScalarType.Float64), one);
        }
    }
}
