using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>What one forward and backward pass of a training loop left behind. Owns its tensors, outside all dispose scopes.</summary>
/// <param name="ids">The examples' ids.</param>
/// <param name="calls">By layer, what each call saw.</param>
/// <param name="graph">The losses with their graph, where parameters are to be differentiated again; else null.</param>
/// <param name="losses">The losses, <c>[B]</c>.</param>
/// <param name="plainParameters">The parameters that the pass took by plain autograd.</param>
/// <param name="plain">The gradients of the summed losses for them; null where unused.</param>
internal sealed class CapturedPass(
    IReadOnlyList<long> ids,
    Dictionary<TrackedLayer, List<LayerCall>> calls,
    Tensor? graph,
    Tensor losses,
    IReadOnlyList<ModelParameter> plainParameters,
    IReadOnlyList<Tensor?> plain
) : IDisposable
{
    public IReadOnlyList<long> Ids => ids;

    public int Count => ids.Count;

    public IReadOnlyDictionary<TrackedLayer, List<LayerCall>> Calls => calls;

    public Tensor? Graph => graph;

    public Tensor Losses => losses;

    public IReadOnlyList<ModelParameter> PlainParameters => plainParameters;

    public IReadOnlyList<Tensor?> Plain => plain;

    private IEnumerable<Tensor> Owned =>
        calls
            .Values.SelectMany(c => c)
            .SelectMany(c => new[] { c.Activation, c.OutputGradient, c.Tap?.Output })
            .Append(graph)
            .Append(losses)
            .Concat(plain)
            .OfType<Tensor>();

    /// <summary>Takes the tensors out of the scope that they were made in.</summary>
    public void LeaveScope(DisposeScope scope) => scope.Detach(Owned);

    public void Dispose()
    {
        foreach (var tensor in Owned)
        {
            tensor.Dispose();
        }
    }
}
