using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

public sealed partial class SelectedExamples
{
    /// <summary>
    /// The selected examples of a data set whose examples are lists, such as a <c>TensorDataset</c>: example i is the i-th pick.
    /// Made by <see cref="SelectedExamples.From(torch.utils.data.IterableDataset, IReadOnlyList{long}?, bool)"/>; a <c>DataLoader</c> takes
    /// it like any other.
    /// </summary>
    /// <remarks>Reads the source when it is asked, and copies nothing. The source stays the caller's: disposing this, as a loader does,
    /// leaves it alone.</remarks>
    public sealed class IterableDataset : utils.data.IterableDataset
    {
        private readonly utils.data.IterableDataset _source;
        private readonly long[] _indices;
        private readonly IReadOnlyList<double>? _weights;

        internal IterableDataset(utils.data.IterableDataset source, SelectedExamples selected, IReadOnlyList<long>? ids, bool weighted) =>
            (_source, _indices, Ids, _weights) = (
                source,
                selected.IndicesIn(ids, source.Count),
                selected.Ids,
                weighted ? selected.Weights : null
            );

        /// <summary>The examples' ids, by index.</summary>
        public IReadOnlyList<long> Ids { get; }

        /// <summary>The number of examples.</summary>
        public override long Count => _indices.Length;

        /// <summary>The i-th pick.</summary>
        /// <param name="index">i, from 0.</param>
        /// <returns>The source's tensors, and where asked for one more at the end, float32 of shape <c>[]</c>: the weight.</returns>
        public override IList<Tensor> GetTensor(long index)
        {
            var example = _source.GetTensor(_indices[index]);
            return _weights is null ? example : [.. example, tensor((float)_weights[(int)index])];
        }
    }
}
