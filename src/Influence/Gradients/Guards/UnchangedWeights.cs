using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Notices weights that change while a call runs, by the loss delegate or by a progress callback: what was computed before and after
/// does not belong together. Two sums over each parameter are compared, which reads the weights once and copies none.
/// </summary>
internal sealed class UnchangedWeights
{
    private readonly nn.Module _model;
    private readonly List<string> _names;
    private readonly double[] _sums;

    public UnchangedWeights(nn.Module model)
    {
        _model = model;
        (_names, _sums) = Sums(model);
    }

    /// <summary>Throws where a parameter is no longer what it was.</summary>
    public void Check()
    {
        var (names, sums) = Sums(_model);
        var changed = names.SequenceEqual(_names)
            ? names.Where((_, i) => !sums[2 * i].Equals(_sums[2 * i]) || !sums[(2 * i) + 1].Equals(_sums[(2 * i) + 1])).ToList()
            : [.. names.Except(_names).Union(_names.Except(names))];
        if (changed.Count > 0 || names.Count != _names.Count)
        {
            throw new InfluenceException(
                $"The model's weights changed during the call ({InfluenceException.List(changed)}), so its results would be a mixture. "
                    + "Does the loss delegate, or a progress callback, "
                    + "train the model or load weights? Do that before or after the call."
            );
        }
    }

    private static (List<string> Names, double[] Sums) Sums(nn.Module model)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var names = new List<string>();
        var sums = new List<Tensor>();
        foreach (var (name, parameter) in model.named_parameters())
        {
            names.Add(name);
            sums.Add(parameter.sum(ScalarType.Float64).cpu());
            sums.Add(
                (parameter.is_floating_point() ? linalg.vector_norm(parameter) : parameter.abs().sum()).to_type(ScalarType.Float64).cpu()
            );
        }

        return (names, sums.Count == 0 ? [] : stack([.. sums], 0).data<double>().ToArray());
    }
}
