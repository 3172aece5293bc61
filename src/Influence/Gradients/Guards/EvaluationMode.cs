using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Puts a model into evaluation mode until it is disposed; every module then has the mode that it had.</summary>
internal sealed class EvaluationMode : IDisposable
{
    private readonly List<(nn.Module Module, bool Training)> _modes;

    public EvaluationMode(nn.Module model)
    {
        // A module sets its children too, so the parents come first when the modes are put back.
        _modes =
        [
            .. ModelParameter
                .Modules(model)
                .OrderBy(m => m.Path.Length == 0 ? -1 : m.Path.Count(c => c == '.'))
                .Select(m => (m.Module, m.Module.training)),
        ];
        if (_modes.Any(m => m.Training))
        {
            model.eval();
        }
    }

    public void Dispose()
    {
        foreach (var (module, training) in _modes)
        {
            if (module.training != training)
            {
                module.train(training);
            }
        }
    }
}
