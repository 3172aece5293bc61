using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

public sealed partial class SelectedExamples
{
    /// <summary>
    /// The selected examples of a data set whose examples are dictionaries: example i is the i-th pick. Made by
    /// <see cref="SelectedExamples.From(torch.utils.data.Dataset, IReadOnlyList{long}?, string?)"/>; a <c>DataLoader</c> takes it like any
    /// other.
    /// </summary>
    /// <remarks>Reads the source when it is asked, and copies nothing. The source stays the caller's: disposing this, as a loader does,
    /// leaves it alone.</remarks>
    public sealed class Dataset : utils.data.Dataset
    {
        private readonly utils.data.Dataset _source;
        private readonly long[] _indices;
        private readonly IReadOnlyList<double> _weights;
        private readonly string? _weightName;

        internal Dataset(utils.data.Dataset source, SelectedExamples selected, IReadOnlyList<long>? ids, string? weightName) =>
            (_source, _indices, Ids, _weights, _weightName) = (
                source,
                selected.IndicesIn(ids, source.Count),
                selected.Ids,
                selected.Weights,
                weightName
            );

        /// <summary>The examples' ids, by index.</summary>
        public IReadOnlyList<long> Ids { get; }

        /// <summary>The number of examples.</summary>
        public override long Count => _indices.Length;

        /// <summary>The i-th pick.</summary>
        /// <param name="index">i, from 0.</param>
        /// <returns>The source's tensors, and where asked for one more, float32 of shape <c>[]</c>: the weight.</returns>
        /// <exception cref="InfluenceException">The source has a tensor of the weight's name.</exception>
        public override Dictionary<string, Tensor> GetTensor(long index)
        {
            var example = _source.GetTensor(_indices[index]);
            if (_weightName is null)
            {
                return example;
            }

            // A dictionary of its own: the source may hand out one that it keeps.
            var weighted = new Dictionary<string, Tensor>(example);
            return weighted.TryAdd(_weightName, tensor((float)_weights[(int)index]))
                ? weighted
                : throw new InfluenceException(
                    $"The examples have a tensor \"{_weightName}\" of their own. Give the weight another name: "
                        + "selected.From(data, weight: \"...\")."
                );
        }
    }
}
