using Influence.Evaluation;

namespace MislabelledImages;

/// <summary>The figures of one run.</summary>
internal sealed record Results
{
    /// <summary>Each ranking with how well it finds the flipped labels; self-influence first, then the baselines.</summary>
    public required IReadOnlyList<(string Ranking, MislabelDetection.Result Detection)> Detections { get; init; }

    public required double TestAccuracy { get; init; }

    public required TimeSpan Training { get; init; }

    public required TimeSpan Scoring { get; init; }

    public required TimeSpan Explaining { get; init; }

    /// <summary>What the report says first.</summary>
    public IReadOnlyList<string> Summary(FlippedLabels labels) =>
        [
            $"Of the {labels.Given.Count:N0} training images, {labels.FlippedCount:N0} were given a wrong label at random. A small "
                + "network was trained on them all. Self-influence (TracIn over the checkpoints of that training) says how hard the "
                + "network had to work for each single image; images with a wrong label tend to come first.",
            $"Accuracy on the test set: {TestAccuracy:0.0%}. Training took {Training.TotalSeconds:0.0} s, scoring "
                + $"{Scoring.TotalSeconds:0.0} s.",
        ];

    /// <summary>One figure a line; the lines of self-influence carry no name in front.</summary>
    public void Print(TextWriter writer)
    {
        foreach (var (index, (ranking, detection)) in Detections.Index())
        {
            var prefix = index == 0 ? string.Empty : $"{ranking.ToLowerInvariant()} ";
            writer.WriteLine($"{prefix}AUC={detection.Auc.Value:0.0000}");
            writer.WriteLine($"{prefix}recall@10%={detection.RecallAt(0.1):0.0000}");
            writer.WriteLine($"{prefix}recall@20%={detection.RecallAt(0.2):0.0000}");
        }

        writer.WriteLine($"test accuracy={TestAccuracy:0.0000}");
        writer.WriteLine($"training seconds={Training.TotalSeconds:0.0}");
        writer.WriteLine($"scoring seconds={Scoring.TotalSeconds:0.0}");
        writer.WriteLine($"explaining seconds={Explaining.TotalSeconds:0.0}");
    }
}
