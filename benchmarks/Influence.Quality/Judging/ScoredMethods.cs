using Influence.Curvature;

namespace Influence.Quality.Judging;

/// <summary>Scores of the reported queries and the dampings chosen for them, by method.</summary>
internal sealed class ScoredMethods : IDisposable
{
    private readonly List<(string Name, InfluenceScores Scores)> _all = [];
    private readonly Dictionary<string, Damping> _dampings = [];

    public IReadOnlyList<(string Name, InfluenceScores Scores)> All => _all;

    public IReadOnlyDictionary<string, Damping> Dampings => _dampings;

    public void Keep(string name, InfluenceScores scores) => _all.Add((name, scores));

    /// <summary>Keeps both, and hands the damping on.</summary>
    public Damping Keep(string name, (Damping Damping, double HeldOut, InfluenceScores Scores) chosen)
    {
        Keep(name, chosen.Scores);
        _dampings.Add(name, chosen.Damping);
        return chosen.Damping;
    }

    /// <summary>The scores of a method; null where it has none.</summary>
    public InfluenceScores? Find(string name) => _all.FirstOrDefault(one => one.Name == name).Scores;

    public void Dispose() => _all.ForEach(one => one.Scores.Dispose());
}
