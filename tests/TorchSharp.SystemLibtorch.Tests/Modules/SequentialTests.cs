using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Modules;

public class SequentialTests
{
    [Fact]
    public void Modules_apply_one_after_the_other_and_intermediates_are_disposed()
    {
        using var scope = NewDisposeScope();
        using var model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1));
        var outputs = new List<Tensor>();
        foreach (var child in model.children().Cast<nn.Module<Tensor, Tensor>>())
        {
            child.register_forward_hook((_, _, output) =>
            {
                outputs.Add(output);
                return null!;
            });
        }

        var result = model.call(ones(4, 2));

        Assert.Equal([4, 1], result.shape);
        Assert.Equal([true, true, false], outputs.Select(output => output.IsInvalid));
        Assert.Same(result, outputs[2]);
    }

    [Fact]
    public void The_input_is_never_disposed()
    {
        using var scope = NewDisposeScope();
        using var empty = nn.Sequential();
        using var one = nn.Sequential(nn.ReLU(inplace: true));
        var input = Values.Row(-1, 2);

        using (var output = empty.call(input))
        {
            Assert.NotSame(input, output);
        }

        using (var output = one.call(input))
        {
            Values.Equal([0, 2], output);
        }

        Values.Equal([0, 2], input);
    }

    [Fact]
    public void Unnamed_modules_are_named_by_position()
    {
        using var model = nn.Sequential(nn.Linear(1, 1), nn.ReLU()).append("last", nn.Linear(1, 1)).append(nn.Tanh());

        Assert.Equal(["0", "1", "last", "3"], model.named_children().Select(entry => entry.name));
        Assert.Equal(
            ["0.weight", "0.bias", "last.weight", "last.bias"],
            model.named_parameters().Select(entry => entry.name));
        Assert.Equal(4, model.Count);
        Assert.Empty(model.named_parameters(recurse: false));
        Assert.NotNull(model.get_parameter("last.bias"));
    }

    [Fact]
    public void A_slice_shares_the_modules()
    {
        using var model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Tanh());

        var tail = model[1..];

        Assert.Equal(2, tail.Count);
        Assert.Same(model[1], tail[0]);
        Assert.Same(model[2], model[(2, null)][0]);
    }

    [Fact]
    public void Named_tuples_and_sequences_build_the_same()
    {
        using var tuples = nn.Sequential(("a", nn.ReLU()), ("b", nn.Tanh()));
        using var list = nn.Sequential(new List<nn.Module<Tensor, Tensor>> { nn.ReLU(), nn.Tanh() });

        Assert.Equal(["a", "b"], tuples.named_modules().Select(entry => entry.name));
        Assert.Equal(["0", "1"], list.named_modules().Select(entry => entry.name));
    }
}
