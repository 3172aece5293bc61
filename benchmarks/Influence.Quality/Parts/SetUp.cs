using Influence.Curvature;
using Influence.Quality.Data;
using Influence.Quality.Judging;
using Influence.Quality.Reporting;
using Influence.Quality.Training;

namespace Influence.Quality.Parts;

/// <summary>What sets one deep set-up apart from another; the methods are the same for all.</summary>
internal sealed record SetUp
{
    public required LabelledData Data { get; init; }

    public required Recipe Recipe { get; init; }

    /// <summary>How many halves are retrained on.</summary>
    public required int Halves { get; init; }

    /// <summary>The seeds of the retrainings, for each half.</summary>
    public required IReadOnlyList<long> Seeds { get; init; }

    /// <summary>How many models are trained on all examples and scored.</summary>
    public required int Models { get; init; }

    /// <summary>The sizes of the ensembles that are shown.</summary>
    public required IReadOnlyList<int> Ensembles { get; init; }

    /// <summary>After which epochs TracIn and EK-FAC over checkpoints look.</summary>
    public required IReadOnlyList<int> FewEpochs { get; init; }

    /// <summary>After which epochs SOURCE looks; none for an optimizer that it does not model.</summary>
    public IReadOnlyList<int> SourceEpochs { get; init; } = [];

    public int SourceSegments { get; init; } = 3;

    /// <summary>How K-FAC, EK-FAC and SOURCE are fitted: a model that fits its training examples needs many labels drawn.</summary>
    public Ekfac.Options Curvature { get; init; } = new();

    public required Astra.Options Astra { get; init; }

    /// <summary>The dampings that are tried where all layers have the same one.</summary>
    public IReadOnlyList<Damping> AbsoluteDampings { get; init; } = Dampings.Absolute;

    /// <summary>The dampings that are tried where each layer has its own.</summary>
    public IReadOnlyList<Damping> RelativeDampings { get; init; } = Dampings.Relative;

    /// <summary>How many queries ASTRA is reported over, at most.</summary>
    public int AstraQueries { get; init; } = 100;

    /// <summary>
    /// The dampings that ASTRA tries, few because each costs many passes; absolute, so that it and its inner EK-FAC have the
    /// same one. Null: around the one that training implies.
    /// </summary>
    public IReadOnlyList<Damping>? AstraDampings { get; init; }

    /// <summary>Examples that are handled at once where gradients are taken.</summary>
    public int BatchSize { get; init; } = 250;

    /// <summary>Whether flipped labels are searched for, too.</summary>
    public bool FlippedLabels { get; init; }

    public required IReadOnlyList<Published> Published { get; init; }

    /// <summary>Every epoch after which a checkpoint is needed, the last among them.</summary>
    public static IReadOnlyList<int> Union(IReadOnlyList<int> few, IReadOnlyList<int> source) => [.. few.Concat(source).Distinct().Order()];
}
