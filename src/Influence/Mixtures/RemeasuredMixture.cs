using Influence.Groups;
using Influence.Numerics;

namespace Influence.Mixtures;

/// <summary>
/// Measures group influence anew every so many steps of a training loop and goes on with the mixture that follows from it:
/// what helps the targets changes as the model learns. One line in the loop: <c>remeasured.Step()</c>.
/// </summary>
/// <remarks>
/// <para>Reference: TiKMiX: Take Data Influence into Dynamic Mixture for Language Model Pre-training (2025), which measures anew at
/// every stage of training. <c>measure</c> runs inside <see cref="Step"/>, on its thread: put the model into evaluation mode
/// there and back into training mode before it returns.</para>
/// <para>Fit the curvature on examples drawn evenly from all groups, not by the present mixture: a group that the mixture has
/// dropped otherwise lies where the fit saw no curvature, the inverse enlarges its gradient, and it seems to help most whatever it
/// is about.</para>
/// <para>Influence per token makes shares of tokens, and a sampler draws examples. With <c>sizes</c> the mixtures here are
/// shares of tokens throughout, and the sampler gets <see cref="Mixture.ToExampleShares"/> of them.</para>
/// </remarks>
public sealed class RemeasuredMixture
{
    private readonly Mixture.Sampler _sampler;
    private readonly Func<GroupScores> _measure;
    private readonly Func<GroupScores, Mixture, Mixture> _optimize;
    private readonly IReadOnlyList<GroupScores.Row>? _sizes;
    private readonly EverySteps _steps;
    private readonly List<Row> _history = [];

    /// <summary>Makes the helper; nothing is measured yet.</summary>
    /// <param name="sampler">What the training loop's data loader draws from; its mixture is replaced.</param>
    /// <param name="everySteps">Steps between two measurements.</param>
    /// <param name="measure">Group influence at the model's present weights.</param>
    /// <param name="optimize">From the scores and the present mixture to the next, for example <c>(s, now) => new TikmixD().Optimize(s,
    /// now).Mixture</c>.</param>
    /// <param name="sizes">The groups' sizes, usually <see cref="GroupScores.TrainGroups"/>, where examples differ in length; null: they do
    /// not, and shares of tokens are shares of examples.</param>
    /// <exception cref="InfluenceException"><paramref name="everySteps"/> is not more than 0, or the sizes are of other groups.</exception>
    public RemeasuredMixture(
        Mixture.Sampler sampler,
        long everySteps,
        Func<GroupScores> measure,
        Func<GroupScores, Mixture, Mixture> optimize,
        IReadOnlyList<GroupScores.Row>? sizes = null
    )
    {
        ArgumentNullException.ThrowIfNull(sampler);
        ArgumentNullException.ThrowIfNull(measure);
        ArgumentNullException.ThrowIfNull(optimize);
        (_sampler, _steps, _measure, _optimize, _sizes) = (
            sampler,
            new EverySteps(everySteps, "A mixture is measured anew"),
            measure,
            optimize,
            sizes
        );
        _ = Mixture;
    }

    /// <summary>Steps between two measurements.</summary>
    public long EverySteps => _steps.Every;

    /// <summary>Steps so far.</summary>
    public long Steps => _steps.Count;

    /// <summary>The present mixture: in shares of tokens where sizes were given, else as the sampler has it.</summary>
    public Mixture Mixture => _sizes is null ? _sampler.Mixture : _sampler.Mixture.ToTokenShares(_sizes);

    /// <summary>Every measurement so far, the oldest first.</summary>
    public IReadOnlyList<Row> History => _history;

    /// <summary>Counts one step of training, and measures when it is time.</summary>
    /// <returns>Whether it measured, so that the sampler follows a new mixture from the next batch on.</returns>
    public bool Step()
    {
        if (!_steps.Step())
        {
            return false;
        }

        Measure();
        return true;
    }

    /// <summary>Measures now, for example before the first step.</summary>
    /// <returns>The new mixture.</returns>
    /// <exception cref="InfluenceException">A delegate returned null, or a mixture of other groups; the mixture is then
    /// unchanged.</exception>
    public Mixture Measure()
    {
        var scores =
            _measure() ?? throw new InfluenceException("measure returned null; it returns the GroupScores of the present weights.");
        var mixture = _optimize(scores, Mixture) ?? throw new InfluenceException("optimize returned null; it returns the next Mixture.");
        _sampler.Mixture = _sizes is null ? mixture : mixture.ToExampleShares(_sizes);
        _history.Add(new(Steps, scores, mixture));
        return mixture;
    }

    /// <summary>One measurement.</summary>
    /// <param name="Step">After how many steps.</param>
    /// <param name="Scores">What was measured.</param>
    /// <param name="Mixture">What followed from it, as <see cref="RemeasuredMixture.Mixture"/>.</param>
    public sealed record Row(long Step, GroupScores Scores, Mixture Mixture);
}
