using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Examples from TorchSharp's data loaders against the same examples as tensors.</summary>
public class LoaderTests
{
    [Fact]
    public void ADictionaryLoader()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var train = utils.data.DataLoader(new DictionaryDataset(("x", c.X), ("y", c.Y)), 4);
        using var queries = utils.data.DataLoader(new DictionaryDataset(("x", c.QueryX), ("y", c.QueryY)), 3);

        AssertAsTensors(c, c.Task(), train, queries, Enumerable.Range(0, 11).Select(i => (long)i));
    }

    [Fact]
    public void AListLoader()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var train = utils.data.DataLoader(new ListDataset(c.X, c.Y), 4);
        using var queries = utils.data.DataLoader(new ListDataset(c.QueryX, c.QueryY), 3);

        AssertAsTensors(
            c,
            c.Task(b => Losses.CrossEntropy(c.Model.call(b[0]), b[1])),
            train,
            queries,
            Enumerable.Range(0, 11).Select(i => (long)i)
        );
    }

    [Fact]
    public void ATensorDatasetLoaderThatDropsTheLast()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var train = utils.data.DataLoader(utils.data.TensorDataset(c.X.alias(), c.Y.alias()), 4, drop_last: true);

        AssertAsTensors(
            c,
            c.Task(b => Losses.CrossEntropy(c.Model.call(b["0"]), b["1"])),
            train,
            Examples.FromTensors(c.QueryX, c.QueryY),
            Enumerable.Range(0, 8).Select(i => (long)i)
        );
    }

    /// <summary>Ids are positions in the data set, whatever order the loader draws.</summary>
    [Fact]
    public void AShuffledLoaderWithASeed()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var train = utils.data.DataLoader(new DictionaryDataset(("x", c.X), ("y", c.Y)), 4, shuffle: true, seed: 5);
        var examples = Examples.FromLoader(train);

        Assert.NotEqual(examples.Ids.Order(), examples.Ids);
        AssertAsTensors(c, c.Task(), examples, c.Queries, examples.Ids);
    }

    [Fact]
    public void AShuffledLoaderWithoutASeedIsRefused()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var train = utils.data.DataLoader(new DictionaryDataset(("x", c.X), ("y", c.Y)), 4, shuffle: true);
        var calls = 0;
        var task = c.Task(b =>
        {
            calls++;
            return c.Loss(b);
        });

        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, train, c.Queries));

        Assert.Contains("seed", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("training examples", thrown.Message, StringComparison.Ordinal);
        Assert.Equal(0, calls);
    }

    [Fact]
    public void ALoaderWithIdsOfItsOwn()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var train = utils.data.DataLoader(new DictionaryDataset(("x", c.X), ("y", c.Y)), 4);
        var ids = Enumerable.Range(0, 11).Select(i => 1000L - i).ToArray();

        using var scores = new TracIn().Score(c.Task(), Examples.FromLoader(train) with { Ids = ids }, c.Queries);

        Assert.Equal(ids, scores.TrainIds);
    }

    private static void AssertAsTensors(Classifier c, InfluenceTask task, Examples train, Examples queries, IEnumerable<long> ids)
    {
        using var expected = new TracIn().Score(c.Task(), c.Train, c.Queries);
        using var scores = new TracIn().Score(task, train, queries);

        Assert.Equal(ids, scores.TrainIds);
        InvarianceTests.AssertEqual(expected.Values.index_select(1, tensor(ids.ToArray())), scores.Values);

        // A second call reads the loaders again.
        var self = new TracIn().SelfInfluence(task, train);
        InvarianceTests.AssertEqual(
            c.TrainGradients().Squared().sum(1).index_select(0, tensor(ids.ToArray())),
            tensor(self.Values.ToArray())
        );
    }
}
