using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Modules;

public class ConversionTests
{
    [Fact]
    public void A_conversion_replaces_the_parameter_objects_everywhere()
    {
        using var model = new TwoLayers();
        var (weight, scale) = (model.first.weight, model.scale);

        var same = model.to(ScalarType.Float64);

        Assert.Same(model, same);
        Assert.NotSame(weight, model.first.weight);
        Assert.NotSame(scale, model.scale);
        Assert.True(weight.IsInvalid);
        Assert.All(model.parameters(), parameter => Assert.Equal(ScalarType.Float64, parameter.dtype));
        Assert.All(model.parameters(), parameter => Assert.True(parameter.requires_grad && parameter.is_leaf));
        Assert.Equal(ScalarType.Float64, model.offset.dtype);
        Assert.Same(model.scale, model.get_parameter("scale"));
        Assert.Same(model.offset, model.get_buffer("offset"));
        Assert.Same(model.first.weight, model.get_parameter("first.weight"));
    }

    [Fact]
    public void Nothing_changes_where_nothing_is_to_convert()
    {
        using var model = new TwoLayers();
        var parameters = model.parameters().ToList();

        model.to(ScalarType.Float32).cpu();

        Assert.Equal(parameters, model.parameters(), ReferenceEqualityComparer.Instance);
    }

    [Fact]
    public void Counters_keep_their_type()
    {
        using var norm = nn.BatchNorm1d(2);

        norm.@double();

        Assert.Equal(ScalarType.Float64, norm.running_mean!.dtype);
        Assert.Equal(ScalarType.Int64, norm.num_batches_tracked!.dtype);
    }

    [Fact]
    public void Gradients_move_along()
    {
        using var layer = nn.Linear(1, 1, hasBias: false);
        using (NewDisposeScope())
        {
            layer.call(tensor(new float[] { 3 })).sum().backward();
        }

        layer.@double();

        Values.Equal([3], layer.weight.grad!);
        Assert.Equal(ScalarType.Float64, layer.weight.grad!.dtype);
    }

    [Fact]
    public void Integer_types_are_refused()
    {
        using var layer = nn.Linear(1, 1);

        Assert.Throws<ArgumentException>(() => layer.to(ScalarType.Int64));
    }

    [Fact]
    public void Zero_grad_sets_null_or_zeroes()
    {
        using var layer = nn.Linear(1, 1);
        Backward();
        layer.zero_grad(set_to_none: false);
        Values.Equal([0], layer.weight.grad!);

        Backward();
        layer.zero_grad();
        Assert.Null(layer.weight.grad);

        void Backward()
        {
            using var scope = NewDisposeScope();
            layer.call(ones(1)).sum().backward();
        }
    }
}
