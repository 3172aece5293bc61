using Influence.Groups;
using Influence.Numerics;

namespace Influence.Mixtures;

/// <summary>
/// Skill-It: raises, round by round, the weight of groups that teach what is still badly learnt. Weights follow the
/// evaluation losses, through a graph of what each group teaches.
/// </summary>
/// <remarks>
/// w_i proportional to w_i(0) exp(eta sum_j A_ij sum of L_j over the last <see cref="Window"/> rounds), A_ij &gt; 0 where training
/// on group i lowers loss j. Reference: Chen et al., Skill-it! A Data-Driven Skills Framework for Understanding and Training
/// Language Models (NeurIPS 2023).
/// </remarks>
public sealed partial class SkillIt
{
    private readonly double[,] _graph;
    private readonly Queue<double[]> _losses = new();
    private readonly Mixture _initial;
    private double[]? _first;

    /// <summary>Takes a graph.</summary>
    /// <param name="initial">The mixture before the first round.</param>
    /// <param name="graph"><c>[k groups, m evaluations]</c> in the mixture's order; finite; copied.</param>
    /// <exception cref="InfluenceException">Another shape, or entries that are not finite.</exception>
    public SkillIt(Mixture initial, double[,] graph)
    {
        ArgumentNullException.ThrowIfNull(initial);
        ArgumentNullException.ThrowIfNull(graph);
        if (graph.GetLength(0) != initial.Names.Count || graph.GetLength(1) == 0 || !graph.Cast<double>().All(double.IsFinite))
        {
            throw new InfluenceException(
                $"A graph has one row for each of the {initial.Names.Count} groups and finite entries; found [{graph.GetLength(0)}, "
                    + $"{graph.GetLength(1)}]"
                    + (graph.Cast<double>().All(double.IsFinite) ? "." : " with entries that are not finite.")
            );
        }

        (_initial, _graph, Mixture) = (initial, (double[,])graph.Clone(), initial);
    }

    /// <summary>eta: how fast weights follow losses.</summary>
    /// <value>0.5; the paper's range is about 0.2 to 0.8.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double LearningRate
    {
        get;
        init => field = Check.NotNegative(value);
    } = 0.5;

    /// <summary>Rounds that count.</summary>
    /// <value>3.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Window
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 3;

    /// <summary>Whether losses are divided by those of the first round, so that evaluations on unlike scales count alike.</summary>
    /// <value>false.</value>
    public bool RelativeToFirst { get; init; }

    /// <summary>The present mixture.</summary>
    public Mixture Mixture { get; private set; }

    /// <summary>
    /// Takes the graph from influence: A_ij = max(0, influence per token of group i on target j), over the largest of them, so
    /// that the learning rate means the same whatever the influence's unit.
    /// </summary>
    /// <param name="scores">Influence of training groups on targets.</param>
    /// <param name="initial">The mixture before the first round; of the same groups, in any order.</param>
    /// <param name="learningRate">eta.</param>
    /// <param name="window">Rounds that count.</param>
    /// <param name="relativeToFirst">Whether losses are divided by those of the first round.</param>
    /// <returns>The method, before its first round.</returns>
    /// <exception cref="InfluenceException">Groups that do not match, or no positive influence at all.</exception>
    public static SkillIt FromInfluence(
        GroupScores scores,
        Mixture initial,
        double learningRate = 0.5,
        int window = 3,
        bool relativeToFirst = false
    )
    {
        ArgumentNullException.ThrowIfNull(scores);
        ArgumentNullException.ThrowIfNull(initial);
        string[] groups = [.. scores.TrainGroups.Select(g => g.Name)];
        var weights = initial.WeightsOf(groups, "the scores");
        var graph = new double[groups.Length, scores.QueryGroups.Count];
        var largest = scores.PerToken().Cast<double>().Max();
        if (largest <= 0)
        {
            throw new InfluenceException("No group helps any target, so there is no graph to follow: every influence is negative or 0.");
        }

        for (var i = 0; i < groups.Length; i++)
        {
            for (var j = 0; j < scores.QueryGroups.Count; j++)
            {
                graph[i, j] = Math.Max(0, scores.PerToken(j, i)) / largest;
            }
        }

        return new(new Mixture(groups, weights), graph)
        {
            LearningRate = learningRate,
            Window = window,
            RelativeToFirst = relativeToFirst,
        };
    }

    /// <summary>One round.</summary>
    /// <param name="losses">The present evaluation losses, in the graph's order.</param>
    /// <returns>The next mixture.</returns>
    /// <exception cref="InfluenceException">Another number of losses, losses that are not finite, or a first loss of 0 where losses are
    /// relative to it.</exception>
    public Mixture Update(IReadOnlyList<double> losses)
    {
        ArgumentNullException.ThrowIfNull(losses);
        var bad = losses.Any(l => !double.IsFinite(l)) || (RelativeToFirst && _first is null && losses.Any(l => l <= 0));
        if (losses.Count != _graph.GetLength(1) || bad)
        {
            throw new InfluenceException(
                $"{_graph.GetLength(1)} finite losses are "
                    + $"expected{(RelativeToFirst ? ", more than 0 in the first round" : string.Empty)}; found "
                    + $"[{string.Join(", ", losses)}]."
            );
        }

        _first ??= [.. losses];
        _losses.Enqueue(RelativeToFirst ? [.. losses.Zip(_first, (l, f) => l / f)] : [.. losses]);
        if (_losses.Count > Window)
        {
            _losses.Dequeue();
        }

        double[] exponents =
        [
            .. Enumerable
                .Range(0, _initial.Names.Count)
                .Select(i => LearningRate * _losses.Sum(round => round.Select((l, j) => _graph[i, j] * l).Sum())),
        ];
        return Mixture = new(_initial.Names, Simplex.Tilted(_initial.Weights, exponents));
    }
}
