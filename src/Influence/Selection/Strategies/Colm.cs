using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// A coreset of a mini-batch whose examples come from sources of very unlike size: all examples of small sources, and of each large
/// source the medoids by facility location on few dimensions of its gradients, with similarity C - sum |x_j - y_j|.
/// </summary>
/// <remarks>
/// <para>
/// The pool is the large batch, its groups are the sources, its features gradients: in the paper, of the last value projection,
/// estimated from two losses (<see cref="GradientsFromLosses"/>) and divided by Adam's root mean square
/// (<see cref="AdamSteps"/>). A source is small if it has fewer examples in the pool than pool / sources, unless
/// <see cref="SmallSources"/> says. Of each large source those <see cref="Dimensions"/> count in which its mean is largest. Large
/// sources are picked in proportion to their sizes. Utilities of the examples that are kept as a whole are 0.
/// </para>
/// <para>
/// Cost: n^2 numbers times the dimensions for a source of n: a batch, not a data set. Wrong as a choice for a whole training run: it
/// is made anew for each step. Nguyen et al., <i>Mini-batch Coresets for Memory-efficient Language Model Training on Data
/// Mixtures</i> (CoLM), ICLR 2025.
/// </para>
/// </remarks>
public sealed partial record Colm : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "CoLM";

    /// <summary>The sources that are kept as a whole.</summary>
    /// <value>Null: those with fewer examples than pool / sources. Empty: none.</value>
    public IReadOnlyList<string>? SmallSources { get; init; }

    /// <summary>Features that count for each source.</summary>
    /// <value>2,560.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Dimensions
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 2560;

    /// <summary>Whether picks weigh as many examples of their source as they stand for, so that weights sum to the pool's count; else
    /// 1.</summary>
    /// <value>False.</value>
    public bool Weighted { get; init; }

    /// <summary>The settings.</summary>
    /// <returns>The settings in words.</returns>
    public override string ToString() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"Colm {{ Seed = {Seed}, SmallSources = {(SmallSources is null ? "by size" : string.Join(", ", SmallSources))}, "
                + $"Dimensions = {Dimensions}, Weighted = {Weighted} }}"
        );

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(budget);
        string[] problems = [.. NeedsFeatures(pool), .. NeedsGroups(pool)];
        if (problems.Length > 0 || pool.Groups is not { } groups)
        {
            return problems;
        }

        var unknown = (SmallSources ?? []).Except(groups.Names).ToList();
        if (unknown.Count > 0)
        {
            return [$"SmallSources has names that no group has: {InfluenceException.List(unknown)}."];
        }

        int[] kept = [.. SmallOf(CandidateGroups.Of(pool)).SelectMany(source => source.Members)];
        var (needed, unit) = budget.TokenCount is null
            ? (kept.Length, "examples")
            : (kept.Sum(position => pool.Lengths?[position] ?? 0), "tokens");
        return needed > (budget.TokenCount ?? budget.Examples(pool))
            ?
            [
                $"The small sources are kept as a whole and have {needed:N0} {unit}; the budget is {budget}. Raise it, or name fewer "
                    + "SmallSources.",
            ]
            : [];
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var sources = CandidateGroups.Of(pool);
        var small = SmallOf(sources);
        foreach (var position in small.SelectMany(source => source.Members))
        {
            picks.Add(position, 0);
        }

        var large = sources.Except(small).ToList();
        var similarities = large
            .Select(source => Scope(new Similarities(Strongest(pool.Features!, source.Members), FeatureSimilarity.Manhattan)))
            .ToList();
        var sequences = large
            .Zip(
                similarities,
                (source, similarity) =>
                    Array.ConvertAll(
                        CoverageGreedy.Sequence(
                            new(similarity),
                            [.. Enumerable.Range(0, similarity.Count)],
                            similarity.Count,
                            int.MaxValue,
                            1,
                            Seed,
                            run
                        ),
                        pick => (source.Members[pick.Position], pick.Gain)
                    )
            )
            .ToList();
        CandidateGroups.PickInProportion(sequences, [.. large.Select(source => source.Members.Length)], picks);
        if (Weighted)
        {
            picks.Weigh(Weights(picks, large, similarities));
        }

        Similarities Scope(Similarities made)
        {
            scope.Attach(made.Points);
            return made;
        }
    }

    private static double[] Weights(Picks picks, List<(string Name, int[] Members)> large, List<Similarities> similarities)
    {
        var weights = Enumerable.Repeat(1.0, picks.Count).ToArray();
        for (var s = 0; s < large.Count; s++)
        {
            var local = large[s].Members.Index().ToDictionary(member => member.Item, member => member.Index);
            int[] own = [.. Enumerable.Range(0, picks.Count).Where(pick => local.ContainsKey(picks.Positions[pick]))];
            if (own.Length == 0)
            {
                throw new InfluenceException(
                    $"No example of the source \"{large[s].Name}\" fits the budget, so nothing can stand for it. Raise the budget, or set "
                        + "Weighted to false."
                );
            }

            int[] everyone = [.. Enumerable.Range(0, local.Count)];
            var counts = PickAssignment.Counts(similarities[s], [.. own.Select(pick => local[picks.Positions[pick]])], [everyone]);
            for (var i = 0; i < own.Length; i++)
            {
                weights[own[i]] = counts[i];
            }
        }

        return weights;
    }

    /// <summary><c>[n, D]</c>: a source's features in the dimensions in which its mean is largest.</summary>
    private Tensor Strongest(Tensor features, int[] members)
    {
        using var scope = NewDisposeScope();
        var rows = FeatureBlocks.Rows(features, members); // [n, d]
        if (rows.shape[1] <= Dimensions)
        {
            return rows.MoveToOuterDisposeScope();
        }

        var means = FeatureBlocks.ToDoubles(rows.mean([0L], type: ScalarType.Float64).abs());
        var strongest = Relevance.Descending(means).Take(Dimensions).Order().Select(d => (long)d).ToArray();
        return rows.index_select(1, tensor(strongest, device: rows.device)).MoveToOuterDisposeScope();
    }

    private List<(string Name, int[] Members)> SmallOf(IReadOnlyList<(string Name, int[] Members)> sources)
    {
        var average = sources.Average(source => source.Members.Length);
        return [.. sources.Where(source => SmallSources?.Contains(source.Name) ?? source.Members.Length < average)];
    }
}
