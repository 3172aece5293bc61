using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Tensors;

public class RandomTests
{
    [Fact]
    public void The_same_seed_gives_the_same_numbers()
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        var first = randn(10);
        manual_seed(5);
        Assert.True(first.Equals(randn(10)));
        Assert.Equal(5, initial_seed());
        Assert.False(first.Equals(randn(10)));
    }

    [Fact]
    public void A_saved_state_can_be_taken_up_again()
    {
        using var scope = NewDisposeScope();
        var state = get_rng_state();
        var first = rand(4);
        set_rng_state(state);
        Assert.True(first.Equals(rand(4)));
    }

    [Fact]
    public void A_generator_of_its_own_leaves_the_default_one_alone()
    {
        using var scope = NewDisposeScope();
        using var a = new Generator(7);
        using var b = new Generator(7);
        manual_seed(1);
        var expected = rand(3);
        manual_seed(1);
        var own = randn(3, generator: a);
        Assert.True(expected.Equals(rand(3)));
        Assert.True(own.Equals(randn(3, generator: b)));
        Assert.True(randperm(10, generator: a).Equals(randperm(10, generator: b)));
        Assert.True(zeros(5).uniform_(0, 1, a).Equals(zeros(5).uniform_(0, 1, b)));
        Assert.True(randint(100, new long[] { 5 }, generator: a).Equals(randint(100, new long[] { 5 }, generator: b)));
        var state = a.get_state();
        var next = rand(2, generator: a);
        b.set_state(state);
        Assert.True(next.Equals(rand(2, generator: b)));
    }

    [Fact]
    public void Draws_stay_in_their_range()
    {
        using var scope = NewDisposeScope();
        Assert.True((rand(1000) < 1).all().ToBoolean());
        var integers = randint(3, 6, new long[] { 1000 });
        Assert.Equal(ScalarType.Int64, integers.dtype);
        Assert.Equal(3, integers.min().ToInt64());
        Assert.Equal(5, integers.max().ToInt64());
        Assert.Equal(45, randperm(10).sum().ToInt64());
        Assert.Equal(1, tensor(new[] { 0f, 1, 0 }).multinomial(1).ToInt64());
        Assert.Equal(0, zeros(10).bernoulli_(0.0).sum().ToSingle());
        Assert.Equal(5, normal(5, 0, [3L]).mean().ToSingle());
    }
}
