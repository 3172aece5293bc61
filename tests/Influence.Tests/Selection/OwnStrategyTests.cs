using Influence.Selection;
using Influence.Tests.Contracts;

namespace Influence.Tests.Selection;

/// <summary>The example in the documentation of <see cref="SelectionStrategy"/>, held to the contract.</summary>
public sealed class OwnStrategyTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new Shortest { Seed = seed };

    private sealed record Shortest : SelectionStrategy
    {
        public override string Name => "shortest";

        protected override void Pick(SelectionPool pool, Picks picks, SelectionRun run)
        {
            var order = Enumerable.Range(0, pool.Count).OrderBy(i => pool.Lengths![i]);
            picks.AddInOrder(order, [.. pool.Lengths!.Select(length => -(double)length)]);
        }
    }
}
