using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Oracles;

/// <summary>A data set whose items are dictionaries, as users of TorchSharp write them.</summary>
internal sealed class DictionaryDataset(params (string Name, Tensor Values)[] tensors) : utils.data.Dataset
{
    public override long Count => tensors[0].Values.shape[0];

    public override Dictionary<string, Tensor> GetTensor(long index) =>
        tensors.ToDictionary(t => t.Name, t => t.Values.select(0, index).clone());
}

/// <summary>A data set whose items are lists.</summary>
internal sealed class ListDataset(params Tensor[] tensors) : utils.data.IterableDataset
{
    public override long Count => tensors[0].shape[0];

    public override IList<Tensor> GetTensor(long index) => [.. tensors.Select(t => t.select(0, index).clone())];
}
