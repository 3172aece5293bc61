using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Tensors;

public class ThreadTests
{
    [Fact]
    public void The_number_of_threads_can_be_set()
    {
        var before = get_num_threads();
        Assert.True(before >= 1);
        set_num_threads(1);
        Assert.Equal(1, get_num_threads());
        set_num_threads(before);
        Assert.Equal(before, get_num_threads());
        Assert.True(get_num_interop_threads() >= 1);
    }

    [Fact]
    public void Results_do_not_depend_on_the_number_of_threads()
    {
        using var scope = NewDisposeScope();
        var before = get_num_threads();
        manual_seed(0);
        var a = randn(300, 200, dtype: float64);
        var many = a.t().mm(a);
        set_num_threads(1);
        var one = a.t().mm(a);
        set_num_threads(before);
        Assert.True(many.allclose(one));
    }

    [Fact]
    public void Grad_mode_and_scopes_belong_to_their_thread()
    {
        using var mode = no_grad();
        using var scope = NewDisposeScope();
        var elsewhere = (Grad: false, Scope: true);
        var thread = new Thread(() => elsewhere = (is_grad_enabled(), CurrentDisposeScope is not null));
        thread.Start();
        thread.Join();
        Assert.True(elsewhere.Grad);
        Assert.False(elsewhere.Scope);
    }

    [Fact]
    public void Cuda_can_be_asked_for()
    {
        Assert.Equal(cuda.is_available(), cuda.device_count() > 0);
        Assert.Equal(DeviceType.CPU, device("cpu").type);
        Assert.Equal("cuda:1", new Device("cuda:1").ToString());
    }
}
