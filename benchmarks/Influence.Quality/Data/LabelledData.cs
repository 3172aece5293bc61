using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Data;

/// <summary>Inputs and targets of training examples and queries; ids are positions.</summary>
/// <param name="Note">What the data are.</param>
/// <param name="TrainX"><c>[N, ...]</c>.</param>
/// <param name="TrainY">int64 classes, <c>[N]</c> or <c>[N, T]</c>.</param>
/// <param name="QueryX"><c>[Q, ...]</c>.</param>
/// <param name="QueryY">int64 classes, <c>[Q]</c> or <c>[Q, T]</c>.</param>
internal sealed record LabelledData(string Note, Tensor TrainX, Tensor TrainY, Tensor QueryX, Tensor QueryY)
{
    public IReadOnlyList<long> TrainIds => [.. Enumerable.Range(0, (int)TrainX.shape[0]).Select(i => (long)i)];

    public Examples Train(int batchSize = 250) => Examples.FromTensors(("x", TrainX), ("y", TrainY)) with { BatchSize = batchSize };

    public Examples Queries(int batchSize = 250) => Examples.FromTensors(("x", QueryX), ("y", QueryY)) with { BatchSize = batchSize };
}
