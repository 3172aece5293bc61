using TorchSharp;
using static TorchSharp.torch;

namespace SelectBestTenth;

/// <summary>Features of images that the model itself makes, at its last layer.</summary>
internal sealed class LastLayerFeatures : IDisposable
{
    private const int Width = 64;
    private const int BatchSize = 500;

    private LastLayerFeatures(Tensor representation, Tensor gradient) => (Representation, Gradient) = (representation, gradient);

    /// <summary>What the last layer reads, projected at random: the picture, whatever its label. <c>[N, 64]</c>.</summary>
    public Tensor Representation { get; }

    /// <summary>The loss's gradient there, (p - y) h' with h projected, projected once more: the picture and its label. <c>[N,
    /// 64]</c>.</summary>
    public Tensor Gradient { get; }

    public static LastLayerFeatures Of(
        nn.Module<Tensor, Tensor> model,
        Tensor images,
        Tensor labels,
        int seed,
        CancellationToken cancellationToken
    )
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var layers = model.children().Cast<nn.Module<Tensor, Tensor>>().ToList();
        var (representations, gradients) = (new List<Tensor>(), new List<Tensor>());
        var last = (TorchSharp.Modules.Linear)layers[^1];
        var projection = Projection(last.weight.shape[1], seed, "hidden units"); // [D, 64]
        var ofGradients = Projection(LabelledImages.ClassCount * Width, seed, "gradients"); // [C * 64, 64]
        for (var start = 0L; start < images.shape[0]; start += BatchSize)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var batch = NewDisposeScope();
            var length = Math.Min(BatchSize, images.shape[0] - start);
            var hidden = images.narrow(0, start, length);
            foreach (var layer in layers[..^1])
            {
                hidden = layer.call(hidden); // at the end [B, D]
            }

            var narrow = hidden.mm(projection); // [B, 64]
            var classes = nn.functional.one_hot(labels.narrow(0, start, length), LabelledImages.ClassCount); // [B, C]
            var errors = last.call(hidden).softmax(1) - classes; // [B, C]
            var gradient = (errors.unsqueeze(2) * narrow.unsqueeze(1)).flatten(1); // [B, C * 64]
            representations.Add(narrow.MoveToOuterDisposeScope());
            gradients.Add(gradient.mm(ofGradients).MoveToOuterDisposeScope()); // [B, 64]
        }

        return new LastLayerFeatures(cat([.. representations]).DetachFromDisposeScope(), cat([.. gradients]).DetachFromDisposeScope());
    }

    public void Dispose()
    {
        Representation.Dispose();
        Gradient.Dispose();
    }

    private static Tensor Projection(long from, int seed, string purpose)
    {
        using var generator = new Generator((ulong)Randomness.SeedFor(seed, $"projection of {purpose}"));
        return randn([from, Width], generator: generator) / Math.Sqrt(Width);
    }
}
