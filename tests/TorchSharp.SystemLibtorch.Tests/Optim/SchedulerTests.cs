using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.optim;

namespace TorchSharp.SystemLibtorch.Tests.Optim;

public class SchedulerTests
{
    [Fact]
    public void Steps_of_a_factor()
    {
        Check(o => lr_scheduler.StepLR(o, 2, 0.5), [1, 1, 0.5, 0.5, 0.25]);
        Check(o => lr_scheduler.MultiStepLR(o, [1, 3], 0.1), [1, 0.1, 0.1, 0.01, 0.01]);
        Check(o => lr_scheduler.ExponentialLR(o, 0.5), [1, 0.5, 0.25, 0.125]);
    }

    [Fact]
    public void Functions_of_the_epoch()
    {
        Check(o => lr_scheduler.LambdaLR(o, epoch => 1.0 / (epoch + 1)), [1, 1.0 / 2, 1.0 / 3]);
        Check(o => lr_scheduler.MultiplicativeLR(o, _ => 0.5), [1, 0.5, 0.25]);
    }

    [Fact]
    public void Ramps()
    {
        Check(o => lr_scheduler.ConstantLR(o, 0.5, 2), [0.5, 0.5, 1, 1]);
        Check(o => lr_scheduler.LinearLR(o, 0.5, 1, 2), [0.5, 0.75, 1, 1]);
        Check(
            o => lr_scheduler.CosineAnnealingLR(o, 4, 0.2),
            [.. Enumerable.Range(0, 9).Select(t => 0.2 + (0.8 * (1 + Math.Cos(Math.PI * t / 4)) / 2))]);
    }

    [Fact]
    public void One_cycle_rises_falls_and_moves_the_momentum_the_other_way()
    {
        using var p = nn.Parameter(zeros(1));
        using var optimizer = SGD([p], 1, momentum: 0.9);
        var scheduler = lr_scheduler.OneCycleLR(optimizer, 2, total_steps: 10, div_factor: 10, final_div_factor: 100);
        var group = (SGD.ParamGroup)optimizer.ParamGroups.Single();
        Assert.Equal(0.2, group.LearningRate, 9);
        Assert.Equal(0.95, group.Momentum, 9);

        scheduler.step();
        scheduler.step();
        Assert.Equal(2, group.LearningRate, 9);
        Assert.Equal(0.85, group.Momentum, 9);

        for (var i = 0; i < 7; i++)
        {
            scheduler.step();
        }

        Assert.Equal(0.002, group.LearningRate, 9);
        Assert.Equal(0.95, group.Momentum, 9);
    }

    private static void Check(Func<Optimizer, lr_scheduler.LRScheduler> make, double[] expected)
    {
        using var p = nn.Parameter(zeros(1));
        using var optimizer = SGD([p], 1);
        var scheduler = make(optimizer);
        foreach (var rate in expected)
        {
            Assert.Equal(rate, optimizer.ParamGroups.Single().LearningRate, 9);
            Assert.Equal(rate, scheduler.get_last_lr().Single(), 9);
            scheduler.step();
        }
    }
}
