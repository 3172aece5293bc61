using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Modules;

public class HookTests
{
    [Fact]
    public void Hooks_run_around_forward_in_order()
    {
        using var layer = nn.Identity();
        using var input = ones(1);
        var log = new List<string>();
        layer.register_forward_hook((nn.Module _) => log.Add("module after"));
        layer.register_forward_hook((_, _, _) => Log("after 1"));
        layer.register_forward_hook((_, _, _) => Log("after 2"));
        layer.register_forward_pre_hook((_, _) => Log("before"));
        layer.register_forward_pre_hook((nn.Module _) => log.Add("module before"));

        using var output = layer.call(input);

        Assert.Equal(["module before", "before", "after 1", "after 2", "module after"], log);

        Tensor Log(string what)
        {
            log.Add(what);
            return null!;
        }
    }

    [Fact]
    public void A_result_replaces_the_input_or_the_output()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Identity();
        layer.register_forward_pre_hook((_, input) => input.mul(10));
        layer.register_forward_hook((_, input, output) => input.add(output));

        Values.Equal([20], layer.call(ones(1)));
    }

    [Fact]
    public void Forward_runs_no_hook()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Identity();
        layer.register_forward_hook((_, _, output) => output.mul(10));

        Values.Equal([1], layer.forward(ones(1)));
    }

    [Fact]
    public void A_removed_hook_runs_no_more()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Identity();
        var remover = layer.register_forward_hook((_, _, output) => output.mul(10));
        Values.Equal([10], layer.call(ones(1)));

        remover.remove();
        remover.remove();

        Values.Equal([1], layer.call(ones(1)));
    }

    [Fact]
    public void A_hook_may_remove_itself()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Identity();
        var calls = 0;
        Action remove = () => { };
        remove = layer.register_forward_hook((_, _, _) =>
        {
            calls++;
            remove();
            return null!;
        }).remove;

        layer.call(ones(1));
        layer.call(ones(1));

        Assert.Equal(1, calls);
    }

    [Fact]
    public void An_exception_in_a_hook_arrives_and_leaves_the_module_usable()
    {
        using var scope = NewDisposeScope();
        using var model = new TwoLayers();
        var remover = model.first.register_forward_hook(
            (_, _, _) => throw new InvalidTimeZoneException("from the hook"));

        var error = Assert.Throws<InvalidTimeZoneException>(() => model.call(ones(1, 3)));
        Assert.Equal("from the hook", error.Message);

        remover.remove();
        Assert.Equal([1, 2], model.call(ones(1, 3)).shape);
    }

    [Fact]
    public void Modules_of_two_inputs_take_hooks_too()
    {
        using var scope = NewDisposeScope();
        using var loss = nn.MSELoss(nn.Reduction.Sum);
        loss.register_forward_pre_hook((_, input, target) => (input.mul(2), target));
        loss.register_forward_hook((_, _, _, output) => output.add(1));

        Values.Equal([5], loss.call(ones(1), zeros(1)));
    }
}
