using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests;

/// <summary>Tensors that all examples of a batch share.</summary>
public sealed class ExampleBatchTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly Tensor _mask = arange(9, float32).reshape(3, 3);

    public void Dispose() => _scope.Dispose();

    /// <summary>As many examples as positions: the size alone does not tell a mask [T, T] from rows of the examples.</summary>
    [Theory]
    [InlineData(0, 1)]
    [InlineData(0, 2)]
    public void ASharedMaskStaysWholeWhereItHasAsManyRows(int first, int second)
    {
        var picked = Batch([4, 5, 6]).Pick([first, second]);
        Assert.Equal([3, 3], picked["mask"].shape);
        Assert.Equal([2, 3], picked["x"].shape);
        Assert.Equal([3, 3], picked.Pick([1])["mask"].shape);
        Assert.Equal([3, 3], picked.With("x", ones(2, 3)).Pick([1])["mask"].shape);
        var loaded = ExampleBatch.Of(
            new Dictionary<string, Tensor>
            {
                ["x"] = ones(3, 3),
                ["mask"] = _mask,
                ["id"] = tensor([4L, 5L, 6L]),
            },
            "id",
            "mask"
        );
        Assert.Equal([3, 3], loaded.Pick([0])["mask"].shape);
    }

    [Fact]
    public void BatchesAreJoinedWithTheMaskThatBothShare()
    {
        var joined = Batch([4, 5, 6]).Join(Batch([7, 8]))!;
        Assert.Equal([4L, 5, 6, 7, 8], joined.Ids);
        Assert.Equal([5, 3], joined["x"].shape);
        Assert.Equal([3, 3], joined["mask"].shape);
        Assert.Equal([3, 3], joined.Pick([4])["mask"].shape);

        // Another mask, or one that runs over the examples.
        Assert.Null(Batch([4, 5, 6]).Join(ExampleBatch.Of([7, 8, 9], ["mask"], ("x", ones(3, 3)), ("mask", _mask + 1))));
        Assert.Null(Batch([4, 5, 6]).Join(ExampleBatch.Of([7, 8, 9], ("x", ones(3, 3)), ("mask", _mask))));
    }

    [Fact]
    public void WhatIsSharedIsNamed()
    {
        foreach (
            var wrong in new Func<ExampleBatch>[]
            {
                () => ExampleBatch.Of([1, 2], ("x", ones(2, 3)), ("mask", _mask)),
                () => ExampleBatch.Of([1, 2], ["other"], ("x", ones(2, 3))),
                () => ExampleBatch.Of([1, 2, 3], ["mask"], ("mask", _mask)),
            }
        )
        {
            Assert.Contains(
                "ExampleBatch.Of(ids, [\"mask\"], ",
                Assert.Throws<InfluenceException>(wrong).Message,
                StringComparison.Ordinal
            );
        }
    }

    private ExampleBatch Batch(long[] ids) => ExampleBatch.Of(ids, ["mask"], ("x", ones(ids.Length, 3)), ("mask", _mask));
}
