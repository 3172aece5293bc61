using Influence.Numerics;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Notices weights, and buffers of real numbers, that change while a call runs, by the loss delegate or by a progress callback: what was
/// computed before and after does not belong together. A hash of all their bits is compared, which reads them once and copies none.
/// </summary>
internal sealed class UnchangedWeights
{
    private readonly nn.Module _model;
    private readonly List<(string Name, ulong Hash)> _before;

    public UnchangedWeights(nn.Module model)
    {
        _model = model;
        _before = Hashes(model);
    }

    /// <summary>Throws where one is no longer what it was.</summary>
    public void Check()
    {
        var now = Hashes(_model);
        var changed = now.Except(_before).Concat(_before.Except(now)).Select(pair => pair.Name).Distinct().ToList();
        if (changed.Count > 0)
        {
            throw new InfluenceException(
                $"The model's weights changed during the call ({InfluenceException.List(changed)}), so its results would be a mixture. "
                    + "Does the loss delegate, or a progress callback, "
                    + "train the model or load weights? Do that before or after the call."
            );
        }
    }

    private static List<(string Name, ulong Hash)> Hashes(nn.Module model)
    {
        using var span = Spans.Of("check: weights");
        using var scope = NewDisposeScope();
        return
        [
            .. model.named_parameters().Select(p => (p.name, WeightsHash.Bits(p.parameter))),
            .. model.named_buffers().Where(b => b.buffer.is_floating_point()).Select(b => (b.name, WeightsHash.Bits(b.buffer))),
        ];
    }
}
