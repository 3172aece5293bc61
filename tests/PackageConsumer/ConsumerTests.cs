using Influence;
using TorchSharp;
using Xunit;

namespace PackageConsumer;

/// <summary>A user's project: it restored the package, and calls it.</summary>
public class ConsumerTests
{
    [Fact]
    public void The_library_that_runs_is_the_one_in_the_package()
    {
        using var archive = Package.Open();

        Assert.Equal(archive.Read("lib/net10.0/Influence.dll"), File.ReadAllBytes(typeof(Examples).Assembly.Location));
    }

    [Fact]
    public void Tensors_go_in_and_examples_come_out()
    {
        using var x = torch.zeros(3, 2);
        using var y = torch.ones(3);

        var examples = Examples.FromTensors(("x", x), ("y", y));

        Assert.Equal([0L, 1L, 2L], examples.Ids);
    }
}
