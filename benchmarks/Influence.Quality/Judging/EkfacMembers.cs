using Influence.Curvature;
using Influence.Estimators;
using Influence.Quality.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Judging;

/// <summary>
/// EK-FAC at checkpoints of several runs. Each is fitted once, and each of its score matrices is made once, however many
/// ensembles it is a member of.
/// </summary>
internal sealed class EkfacMembers(
    Examples train,
    Ekfac.Options options,
    IReadOnlyList<TrainedModel> runs,
    IReadOnlyList<IReadOnlyList<Checkpoint>> checkpoints
) : IDisposable
{
    private readonly Dictionary<(int Run, int Checkpoint), (nn.Module<Tensor, Tensor> Model, Ekfac Fit)> _members = [];
    private readonly Dictionary<(int Run, int Checkpoint, Damping Damping, long FirstQuery, int Queries), InfluenceScores> _scores = [];

    /// <summary>The mean over members; the caller disposes it.</summary>
    /// <param name="members">Runs and positions of checkpoints; a negative one counts from the end.</param>
    /// <param name="damping">Each member's, relative to its own curvature.</param>
    /// <param name="queries">The queries.</param>
    public InfluenceScores Mean(IReadOnlyList<(int Run, int Checkpoint)> members, Damping damping, Examples queries)
    {
        // Before the scope is opened: models made inside one would lose their weights with it.
        List<InfluenceScores> all = [.. members.Select(member => Of(member, damping, queries))];
        using var scope = NewDisposeScope();
        var first = all[0];
        var sum = zeros_like(first.Values); // [Q, N]
        all.ForEach(scores => sum.add_(scores.Values, 1.0 / members.Count));
        return new InfluenceScores(
            sum.MoveToOuterDisposeScope(),
            first.QueryIds,
            first.TrainIds,
            first.Metadata with
            {
                Checkpoints = $"mean over {members.Count} members",
            }
        );
    }

    /// <summary>The fit at the end of a run, with its task.</summary>
    public (InfluenceTask Task, Ekfac Fit) AtTheEnd(int run)
    {
        var (model, fit) = Member(run, checkpoints[run].Count - 1);
        return (TrainedModel.Task(model), fit);
    }

    public void Dispose()
    {
        foreach (var (model, fit) in _members.Values)
        {
            fit.Dispose();
            model.Dispose();
        }

        foreach (var scores in _scores.Values)
        {
            scores.Dispose();
        }
    }

    private InfluenceScores Of((int Run, int Checkpoint) member, Damping damping, Examples queries)
    {
        var checkpoint = member.Checkpoint < 0 ? checkpoints[member.Run].Count + member.Checkpoint : member.Checkpoint;
        var key = (member.Run, checkpoint, damping, queries.Ids[0], queries.Count);
        if (!_scores.TryGetValue(key, out var scores))
        {
            var (model, fit) = Member(member.Run, checkpoint);
            scores = new InfluenceFunction(fit) { Damping = damping }.Score(TrainedModel.Task(model), train, queries);
            _scores.Add(key, scores);
        }

        return scores;
    }

    private (nn.Module<Tensor, Tensor> Model, Ekfac Fit) Member(int run, int checkpoint)
    {
        if (!_members.TryGetValue((run, checkpoint), out var member))
        {
            var model = runs[run].At(checkpoints[run][checkpoint]);
            member = (model, Ekfac.Fit(TrainedModel.Task(model), train, options));
            _members.Add((run, checkpoint), member);
        }

        return member;
    }
}
