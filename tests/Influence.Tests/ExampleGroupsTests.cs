using Xunit;

namespace Influence.Tests;

public sealed class ExampleGroupsTests
{
    [Fact]
    public void GroupsKeepTheOrderInWhichTheyWereNamed()
    {
        var groups = ExampleGroups.Of([5, 3, 9], ["web", "books", "web"]);
        Assert.Equal(["web", "books"], groups.Names);
        Assert.Equal([5, 9], groups["web"]);
        Assert.False(groups.Overlap);
        Assert.Equal("2 groups: web (2), books (1)", groups.ToString());
        Assert.True(ExampleGroups.FromMembers(("a", [1, 2]), ("b", [2])).Overlap);
    }

    [Fact]
    public void WhatIsWrongIsSaidAllAtOnce()
    {
        var message = Assert
            .Throws<InfluenceException>(() => ExampleGroups.FromMembers(("a", []), (" ", [1]), ("b", [2, 2]), ("b", [3])))
            .Message;
        Assert.Contains("\"a\" is empty", message, StringComparison.Ordinal);
        Assert.Contains("has no name", message, StringComparison.Ordinal);
        Assert.Contains("holds ids twice: 2", message, StringComparison.Ordinal);
        Assert.Contains("\"b\" is there twice", message, StringComparison.Ordinal);
        Assert.Contains(
            "3 ids and 1 groups",
            Assert.Throws<InfluenceException>(() => ExampleGroups.Of([1, 2, 3], ["a"])).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "no group \"x\"",
            Assert.Throws<InfluenceException>(() => ExampleGroups.Of([1], ["a"])["x"]).Message,
            StringComparison.Ordinal
        );
    }
}
