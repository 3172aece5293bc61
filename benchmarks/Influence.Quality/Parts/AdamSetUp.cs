using Influence.Curvature;
using Influence.Quality.Data;
using Influence.Quality.Reporting;
using Influence.Quality.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Parts;

/// <summary>A set-up that is trained by AdamW: every estimator and every baseline, with the optimizer's own form beside the plain
/// one.</summary>
internal sealed record AdamSetUp
{
    public required LabelledData Data { get; init; }

    public required Recipe Recipe { get; init; }

    /// <summary>How many classes there are.</summary>
    public required int Classes { get; init; }

    /// <summary>What the last layer sees, from the model and its inputs: <c>[B, H]</c>.</summary>
    public required Func<nn.Module<Tensor, Tensor>, Tensor, Tensor> LastInputs { get; init; }

    /// <summary>An embedding of inputs, <c>[B, D]</c>, for the baselines that compare examples.</summary>
    public required Func<nn.Module<Tensor, Tensor>, Tensor, Tensor> Embedding { get; init; }

    /// <summary>The texts of training examples and queries by id; null for data without.</summary>
    public (IReadOnlyList<string> Train, IReadOnlyList<string> Queries)? Texts { get; init; }

    /// <summary>How many halves are retrained on.</summary>
    public required int Halves { get; init; }

    /// <summary>The seeds of the retrainings, for each half.</summary>
    public required IReadOnlyList<long> Seeds { get; init; }

    /// <summary>How many models are trained on all examples; the first is the one that is scored.</summary>
    public required int Models { get; init; }

    /// <summary>Epochs of the checkpoints that TracIn and the checkpoints' mean use, the last among them.</summary>
    public required IReadOnlyList<int> FewEpochs { get; init; }

    /// <summary>Epochs of SOURCE's checkpoints, the last among them; as many in each of three segments.</summary>
    public required IReadOnlyList<int> SourceEpochs { get; init; }

    /// <summary>How curvature is fitted where no choice is named.</summary>
    public required Ekfac.Options Curvature { get; init; }

    /// <summary>The dampings that are tried, each as a multiple of the layer's mean eigenvalue.</summary>
    public required IReadOnlyList<Damping> Dampings { get; init; }

    /// <summary>Over how many queries the query loss difference is measured; 0: it is not.</summary>
    public int QldQueries { get; init; }

    /// <summary>Over how many queries MAGIC is reported; 0: it is not run.</summary>
    public int MagicQueries { get; init; }

    /// <summary>How many random hundredths are left out of the scored run itself; 0: none.</summary>
    public int SmallRemovals { get; init; }

    /// <summary>Whether flipped labels are searched for, too.</summary>
    public bool FlippedLabels { get; init; }

    public IReadOnlyList<Published> Published { get; init; } = [];

    /// <summary>What was found in the data.</summary>
    public string Facts { get; init; } = string.Empty;
}
