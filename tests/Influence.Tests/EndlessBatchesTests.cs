using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests;

public class EndlessBatchesTests
{
    /// <summary>Three passes over seven examples by threes: two whole batches each, no example twice in a pass, tensors that go with their
    /// ids.</summary>
    [Fact]
    public void EveryPassHasAnOrderOfItsOwn()
    {
        using var scope = NewDisposeScope();
        var examples = Examples.FromTensors(arange(7, dtype: float64) + 100) with
        {
            Ids = [.. Enumerable.Range(100, 7).Select(i => (long)i)],
        };
        var passes = Read(3).Chunk(6).ToList();
        Assert.All(passes, pass => Assert.Equal(6, pass.Distinct().Count()));
        Assert.Equal(3, passes.DistinctBy(pass => string.Join(' ', pass)).Count());
        Assert.Equal(passes.SelectMany(pass => pass), Read(3));
        Assert.NotEqual(Read(3), Read(4));

        List<long> Read(long seed)
        {
            var ids = new List<long>();
            foreach (var batch in examples.EndlessBatches(seed, 3).Take(6))
            {
                Assert.Equal(batch.Ids.Select(id => (double)id), batch[0].data<double>().ToArray());
                ids.AddRange(batch.Ids);
            }

            return ids;
        }
    }

    [Fact]
    public void ABatchOfAllKeepsTheOrder()
    {
        using var scope = NewDisposeScope();
        var before = Oracles.LiveTensors.OnThisThread;
        using (var values = arange(4, dtype: float64))
        {
            foreach (var batch in Examples.FromTensors(values).EndlessBatches(1, 4).Take(3))
            {
                Assert.Equal([0L, 1, 2, 3], batch.Ids);
            }

            foreach (var batch in Examples.FromTensors(values).EndlessBatches(1, 3).Take(3))
            {
                Assert.Equal(3, batch.Count);
            }
        }

        Assert.Equal(before, Oracles.LiveTensors.OnThisThread);
    }
}
