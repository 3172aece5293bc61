using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Oracles;

/// <summary>Everything about a model that a call must leave as it was, in plain memory.</summary>
internal sealed class ModelState
{
    private readonly Dictionary<string, bool> _training;
    private readonly Dictionary<string, (bool RequiresGrad, double[]? Grad)> _parameters;
    private readonly Dictionary<string, double[]> _values;
    private readonly double[] _output;

    private ModelState(Composite model, Tensor probe)
    {
        using var scope = NewDisposeScope();
        _training = model.named_modules().ToDictionary(m => m.name, m => m.module.training);
        _training[string.Empty] = model.training;
        _parameters = model
            .named_parameters()
            .ToDictionary(p => p.name, p => (p.parameter.requires_grad, p.parameter.grad is { } grad ? Values(grad) : null));
        _values = model.state_dict().ToDictionary(pair => pair.Key, pair => Values(pair.Value));
        using var noGrad = no_grad();
        _output = Values(model.call(probe));
    }

    public static ModelState Of(Composite model, Tensor probe) => new(model, probe);

    /// <summary>Checks that the model is as it was, and that a forward pass leaves nothing behind: no hook is left.</summary>
    public void AssertUnchanged(Composite model, Tensor probe)
    {
        var now = Of(model, probe);
        Assert.Equal(_training, now._training);
        Assert.Equal(_parameters.Keys, now._parameters.Keys);
        foreach (var (name, (requiresGrad, grad)) in _parameters)
        {
            Assert.True(requiresGrad == now._parameters[name].RequiresGrad, $"requires_grad of {name}");
            Assert.Equal(grad, now._parameters[name].Grad);
        }

        foreach (var (name, values) in _values)
        {
            Assert.Equal(values, now._values[name]);
        }

        Assert.Equal(_output, now._output);
        Assert.True(is_grad_enabled());
        var before = LiveTensors.OnThisThread;
        for (var i = 0; i < 3; i++)
        {
            using var scope = NewDisposeScope();
            _ = model.call(probe);
        }

        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    private static double[] Values(Tensor tensor) => tensor.detach().to_type(ScalarType.Float64).contiguous().data<double>().ToArray();
}

/// <summary>TorchSharp's own count of tensors that were made on this thread and not disposed.</summary>
internal static class LiveTensors
{
    public static long OnThisThread => DisposeScopeManager.Statistics.ThreadTotalLiveCount;
}
