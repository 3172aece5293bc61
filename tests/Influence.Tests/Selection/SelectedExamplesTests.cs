using Influence.Selection;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

/// <summary>What a selection holds, on disk and in words.</summary>
public sealed class SelectedExamplesTests
{
    [Fact]
    public void SavedAndLoadedItIsTheSame()
    {
        using var folder = new TempFolder();
        var path = folder.Path("selection.json");
        using var pool = new SelectionPool([1, 2, 3]);
        var selected = new Odd { Seed = -5 }.Select(pool, SelectionBudget.Fraction(0.67));
        selected.Save(path);
        var loaded = SelectedExamples.Load(path);

        Assert.Equal([3, 1], loaded.Ids);
        Assert.Equal([0.1, 1.0 / 3], loaded.Weights);
        Assert.Equal([double.PositiveInfinity, Math.BitDecrement(1)], loaded.Utilities); // to the last bit
        Assert.Equal(["One remark."], loaded.Notes);
        Assert.Equal(
            (selected.Strategy, selected.Settings, -5, "67% of the pool", 3),
            (loaded.Strategy, loaded.Settings, loaded.Seed, loaded.Budget, loaded.PoolCount)
        );
        Assert.Contains("Depth = 4", loaded.Settings, StringComparison.Ordinal);
        Assert.Equal(selected.ToString(), loaded.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("""{"Ids":[1,2]}""")]
    [InlineData(
        """{"Ids":[1,2],"Weights":[1],"Utilities":[1,1],"Strategy":"x","Settings":"x","Seed":0,"Budget":"x","PoolCount":2,"Notes":[]}"""
    )]
    [InlineData(
        """{"Ids":[1,1],"Weights":[1,1],"Utilities":[1,1],"Strategy":"x","Settings":"x","Seed":0,"Budget":"x","PoolCount":2,"Notes":[]}"""
    )]
    [InlineData(
        """{"Ids":[1,2],"Weights":[1,-1],"Utilities":[1,1],"Strategy":"x","Settings":"x","Seed":0,"Budget":"x","PoolCount":2,"Notes":[]}"""
    )]
    [InlineData("""{"Ids":[1,2],"Weights":[1,1],"Utilities":[1,1],"Seed":0,"PoolCount":2,"Notes":[]}""")]
    public void AFileOfSomethingElseIsRefused(string text)
    {
        using var folder = new TempFolder();
        var path = folder.Path("selection.json");
        File.WriteAllText(path, text);
        Assert.Contains(path, Assert.Throws<InfluenceException>(() => SelectedExamples.Load(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AMissingFileAndAFolderThatIsAFileAreErrors()
    {
        using var folder = new TempFolder();
        Assert.Throws<InfluenceException>(() => SelectedExamples.Load(folder.Path("none.json")));
        var selected = new TopK().Select(ExampleScores.Of([1], [1]), SelectionBudget.Count(1));
        File.WriteAllText(folder.Path("file"), "in the way of a folder");
        Assert.Throws<InfluenceException>(() => selected.Save(folder.Path("file/none.json")));
        Assert.Equal(["file"], folder.Files);
    }

    [Fact]
    public void TheExamplesOfASourceAreInItsOrder()
    {
        using var scope = NewDisposeScope();
        var train = Examples.FromTensors(("x", arange(4))) with { Ids = [10, 11, 12, 13] };
        var selected = new TopK().Select(ExampleScores.Of([10, 12, 13], [1, 2, 3]), SelectionBudget.Count(2));
        Assert.Equal([12, 13], selected.From(train).Ids);
        Assert.Throws<InfluenceException>(() => selected.From(train with { Ids = [0, 1, 2, 3] }));
    }

    [Fact]
    public void ATableOfTheFirstPicks()
    {
        var text = new TopK().Select(ExampleScores.Of([10, 12, 13], [1, 2, 3]), SelectionBudget.Count(2)).ToString();
        Assert.Contains("top-k: 2 of 3 examples (2 examples), seed 0", text, StringComparison.Ordinal);
        Assert.Contains("utility", text, StringComparison.Ordinal);
    }

    private sealed record Odd : SelectionStrategy
    {
        public override string Name => "odd";

        public int Depth { get; init; } = 4;

        protected override void Pick(SelectionPool pool, Picks picks, Run run)
        {
            picks.Add(pool.PositionOf(3), double.PositiveInfinity, 0.1);
            picks.Add(pool.PositionOf(1), Math.BitDecrement(1), 1.0 / 3);
            run.Note("One remark.");
        }
    }
}
