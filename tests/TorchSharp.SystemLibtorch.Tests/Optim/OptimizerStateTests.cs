using TorchSharp.Modules;
using TorchSharp.SystemLibtorch.Tests.Modules;
using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Optim;

public class OptimizerStateTests
{
    [Fact]
    public void A_loaded_state_continues_where_the_saved_one_stopped()
    {
        using var p = nn.Parameter(Values.Row(1, 2));
        using var q = nn.Parameter(Values.Row(1, 2));
        using var first = optim.Adam([p], lr: 0.3, amsgrad: true);
        using var second = optim.Adam([q], lr: 0.1, amsgrad: true);
        OptimizerTests.Step(first, p, 1, -1);
        Copy(p, q);

        second.load_state_dict(first.state_dict());
        Assert.True(second.state_dict().State[0].ApproximatelyEquals(first.state_dict().State[0]));
        Assert.Equal(0.3, second.ParamGroups.First().LearningRate);

        OptimizerTests.Step(first, p, 2, 3);
        OptimizerTests.Step(second, q, 2, 3);
        Assert.Equal(p.Floats(), q.Floats());
    }

    [Fact]
    public void The_file_holds_the_options_and_states()
    {
        using var p = nn.Parameter(Values.Row(1));
        using var q = nn.Parameter(Values.Row(1));
        using var first = optim.SGD([p], 0.3, momentum: 0.9);
        using var second = optim.SGD([q], 0.1, momentum: 0.5);
        using var other = optim.Adam([q]);
        OptimizerTests.Step(first, p, 2);

        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        first.save_state_dict(writer);
        writer.Flush();

        // Name, counts, two rates, momentum, dampening, decay, two flags, a flag and one tensor of one float.
        Assert.Equal(4 + 2 + (5 * 8) + 2 + 1 + 3 + 4, stream.Length);
        Assert.Throws<InvalidDataException>(() => other.load_state_dict(Reader()));

        second.load_state_dict(Reader());
        Assert.Equal(0.9, ((SGD.Options)second.state_dict().Options[0]).momentum);
        Values.Equal([2], ((SGD.State)second.state_dict().State[0]).momentum_buffer);

        BinaryReader Reader() => new(new MemoryStream(stream.ToArray()));
    }

    [Fact]
    public void Another_number_of_parameters_is_refused()
    {
        using var p = nn.Parameter(zeros(1));
        using var q = nn.Parameter(zeros(1));
        using var one = optim.SGD([p], 0.1);
        using var two = optim.SGD([p, q], 0.1);

        Assert.Throws<ArgumentException>(() => two.load_state_dict(one.state_dict()));
    }

    [Fact]
    public void States_outlive_the_scope_that_a_step_ran_in_and_go_with_the_optimizer()
    {
        using var p = nn.Parameter(Values.Row(1));
        var optimizer = optim.SGD([p], 0.1, momentum: 0.9);
        using (NewDisposeScope())
        {
            OptimizerTests.Step(optimizer, p, 1);
        }

        var buffer = ((SGD.State)optimizer.state_dict().State[0]).momentum_buffer;
        Assert.False(buffer.IsInvalid);

        optimizer.Dispose();
        Assert.True(buffer.IsInvalid);
    }

    private static void Copy(Tensor source, Tensor target)
    {
        using var noGrad = no_grad();
        target.copy_(source);
    }
}
