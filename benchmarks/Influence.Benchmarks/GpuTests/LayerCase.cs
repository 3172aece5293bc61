using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.GpuTests;

/// <summary>A small model around one kind of layer, with its data, on a device and in a dtype; the same numbers for every device and
/// dtype.</summary>
internal sealed class LayerCase : IDisposable
{
    public const int TrainCount = 8;
    public const int QueryCount = 3;

    private readonly nn.Module<Tensor, Tensor> _model;
    private readonly Tensor[] _data;

    private LayerCase(nn.Module<Tensor, Tensor> model, Tensor[] data) => (_model, _data) = (model, data);

    public InfluenceTask Task => new(_model) { TrainingLoss = b => Loss(_model.call(b["x"]), b["y"]) };

    public Examples Train => Examples.FromTensors(("x", _data[0]), ("y", _data[1])) with { BatchSize = 5 };

    public Examples Queries => Examples.FromTensors(("x", _data[2]), ("y", _data[3]));

    /// <summary>Makes the model and its data on the CPU in float64, and takes them to their place.</summary>
    public static LayerCase Create(string name, ScalarType dtype, Device device)
    {
        manual_seed(17);
        var (model, input) = LayerModels.Make(name, module => module.to(dtype).to(device));
        model.eval();
        using var scope = NewDisposeScope();
        Tensor[] data = [.. Draw(TrainCount), .. Draw(QueryCount)];
        return new LayerCase(model, [.. data.Select(tensor => tensor.MoveToOuterDisposeScope().DetachFromDisposeScope())]);

        Tensor[] Draw(long count)
        {
            var x = input(count);
            using var noGrad = no_grad();
            var placed = x.is_floating_point() ? x.to(dtype).to(device) : x.to(device);
            return [placed, randn(model.call(placed).shape, ScalarType.Float64, CPU).to(dtype).to(device)];
        }
    }

    public void Dispose()
    {
        foreach (var tensor in _data)
        {
            tensor.Dispose();
        }

        _model.Dispose();
    }

    /// <summary>The squared distance, <c>[B]</c>.</summary>
    private static Tensor Loss(Tensor output, Tensor target) => (output - target).square().reshape(output.shape[0], -1).sum(1);
}
