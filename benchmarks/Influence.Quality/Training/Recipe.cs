using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Training;

/// <summary>How a model is made and trained: everything but the data and the seed.</summary>
internal sealed record Recipe
{
    /// <summary>The model in words.</summary>
    public required string Model { get; init; }

    /// <summary>A new model; the caller has set the seed of its weights.</summary>
    public required Func<nn.Module<Tensor, Tensor>> Create { get; init; }

    public required int Epochs { get; init; }

    public required double LearningRate { get; init; }

    public int BatchSize { get; init; } = 64;

    public double Momentum { get; init; }

    public double WeightDecay { get; init; }

    /// <summary>AdamW in place of SGD.</summary>
    public bool Adam { get; init; }

    /// <summary>AdamW's epsilon.</summary>
    public double AdamEpsilon { get; init; } = 1e-8;

    /// <summary>
    /// Where batches have holes, each example keeps the share that it has in the full batch, as if those left out had weight 0: removal and
    /// nothing else.
    /// </summary>
    public bool KeepsShares { get; init; }

    /// <summary>The rate falls in a straight line to zero, step by step.</summary>
    public bool RateFalls { get; init; }

    /// <summary>After which epochs a checkpoint is kept; the last is the end.</summary>
    public required IReadOnlyList<int> CheckpointEpochs { get; init; }

    /// <summary>
    /// Stopping after K steps at rate eta acts like a damping of 1/(eta K), momentum counted in the rate (Bae et al., 2024).
    /// </summary>
    public double ImpliedDamping(long examples)
    {
        var steps = Epochs * ((examples + BatchSize - 1) / BatchSize);
        return (1 - Momentum) / (LearningRate * (RateFalls ? 0.5 : 1) * steps);
    }

    public string Describe() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{Model}; {(Adam ? AdamEpsilon.Equals(1e-8) ? "AdamW" : $"AdamW, epsilon {AdamEpsilon}" : $"SGD, momentum {Momentum}")}, "
                + $"learning rate {LearningRate}{(RateFalls ? " falling linearly to 0" : string.Empty)}, weight decay {WeightDecay}, batch "
                + $"{BatchSize}, {Epochs} epochs over the examples given"
        );

    /// <summary>Linear layers with ReLU between them, and dropout after each ReLU where it is above 0.</summary>
    public static nn.Module<Tensor, Tensor> Mlp(IReadOnlyList<long> widths, double dropout = 0)
    {
        var layers = new List<(string, nn.Module<Tensor, Tensor>)>();
        for (var l = 1; l < widths.Count; l++)
        {
            layers.Add(($"fc{l}", nn.Linear(widths[l - 1], widths[l])));
            if (l < widths.Count - 1)
            {
                layers.Add(($"relu{l}", nn.ReLU()));
                if (dropout > 0)
                {
                    layers.Add(($"dropout{l}", nn.Dropout(dropout)));
                }
            }
        }

        return nn.Sequential(layers);
    }

    public static string MlpName(IReadOnlyList<long> widths, double dropout = 0) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{(widths.Count == 2 ? "linear" : "MLP with ReLU")} "
                + $"{string.Join("-", widths)}{(dropout > 0 ? $", dropout {dropout}" : string.Empty)}"
        );
}
