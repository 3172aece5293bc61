using System.Globalization;
using Influence.Curvature;
using Influence.Groups;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Unlearning;

/// <summary>
/// One influence or Newton step to the weights that training without the examples would have found, from an optimum:
/// <code>
/// first:    step = 1 / |K| (H + damping I)^-1 (sum over the examples to forget of grad L)
/// Newton:   step = 1 / |K| (H_K + damping I)^-1 (sum over the examples to forget of grad L)
/// w' = w + s step,   s = 1 unless a trust region or the kept loss shortens it
/// </code>
/// with K the examples to keep, H the mean curvature over all and H_K over K.
/// </summary>
/// <remarks>
/// <para>
/// Newton is exact for quadratic losses at their optimum, and needs a <see cref="DenseCurvature"/>; first order works with any
/// preconditioner, as <see cref="Ekfac"/> for networks. Both expand around an optimum: in a network that training left elsewhere, the step
/// may be too long, and the two limits are for that. A preconditioner is fitted on the examples to forget and to keep together.
/// </para>
/// <para>
/// Cost: a backward pass over the examples to forget and one application of the inverse; second order and Newton as
/// <see cref="GroupEffect"/>; with <see cref="MaximumKeepRise"/> a forward pass over the examples to keep for each halving. References: Guo
/// et al., "Certified Data Removal", ICML 2020, equation 2; Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020; Izzo et
/// al., AISTATS 2021.
/// </para>
/// </remarks>
public sealed record NewtonUnlearning : UnlearningMethod
{
    private const int MostHalvings = 30;

    private readonly Preconditioner _preconditioner;

    /// <summary>Takes the curvature.</summary>
    /// <param name="preconditioner">Fitted at the model's weights on the examples to forget and to keep; it stays the caller's.</param>
    public NewtonUnlearning(Preconditioner preconditioner)
    {
        ArgumentNullException.ThrowIfNull(preconditioner);
        _preconditioner = preconditioner;
    }

    /// <inheritdoc/>
    public override string Name =>
        (
            Order == GroupEffect.Expansion.Newton ? "Newton"
            : Order == GroupEffect.Expansion.Second ? "second-order influence"
            : "influence"
        ) + $" step, {_preconditioner.Info.Method}";

    /// <summary>Which step.</summary>
    /// <value><see cref="GroupEffect.Expansion.First"/>.</value>
    public GroupEffect.Expansion Order
    {
        get;
        init => field = Check.Defined(value);
    }

    /// <summary>The damping of this call.</summary>
    /// <value>Null: the preconditioner's own.</value>
    public Damping? Damping { get; init; }

    /// <summary>The trust region: a step that is longer is shortened to this length.</summary>
    /// <value>Null: none.</value>
    /// <exception cref="InfluenceException">Not above 0.</exception>
    public double? MaximumStep
    {
        get;
        init => field = Check.Positive(value);
    }

    /// <summary>By how much the mean loss of the examples to keep may rise, in its unit; the step is halved until it does not rise by
    /// more.</summary>
    /// <value>Null: it is not looked at.</value>
    /// <exception cref="InfluenceException">Negative.</exception>
    public double? MaximumKeepRise
    {
        get;
        init => field = Check.NotNegative(value);
    }

    /// <summary>Bytes that vectors of the parameters' size may take.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

    private protected override void Move(UnlearningRun run)
    {
        using var scope = NewDisposeScope();
        var step = run.InSession((session, layout) => Step(run, session, layout)); // [P]
        var norm = step.Norm();
        var scale = 1.0;
        if (MaximumStep is { } longest && norm > longest)
        {
            scale = longest / norm;
            run.Notes.Add(
                string.Create(CultureInfo.InvariantCulture, $"the step of length {norm:G4} was shortened to the trust region, {longest:G4}")
            );
        }

        var limit = MaximumKeepRise is { } rise ? run.MeanLoss(run.Keep) + rise : double.PositiveInfinity;
        for (var halving = 0; ; halving++)
        {
            using var attempt = NewDisposeScope();
            run.MoveTo(step * Kept(scale));
            if (double.IsPositiveInfinity(limit) || run.MeanLoss(run.Keep) <= limit)
            {
                if (halving > 0)
                {
                    run.Notes.Add(
                        string.Create(
                            CultureInfo.InvariantCulture,
                            $"the step was halved {halving} times to keep the kept loss at or below {limit:G4}"
                        )
                    );
                }

                return;
            }

            if (halving == MostHalvings)
            {
                throw new InfluenceException(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"Even 2^-{MostHalvings} of the step raises the mean loss of the examples to keep by more than MaximumKeepRise = "
                            + $"{MaximumKeepRise}. Allow more, for example MaximumKeepRise = 0.01."
                    )
                );
            }

            scale /= 2;
        }
    }

    private protected override IEnumerable<string> Problems(Examples train, IReadOnlySet<long> forget, IReadOnlySet<long> keep)
    {
        if (Order == GroupEffect.Expansion.Newton && _preconditioner is not DenseCurvature)
        {
            yield return "GroupEffect.Expansion.Newton needs the curvature as a matrix, DenseCurvature.Fit(task, train); found "
                + $"{_preconditioner.Info.Method}. Or write Order = GroupEffect.Expansion.First.";
        }

        if (_preconditioner.Info.Examples is > 0 and var seen && seen != forget.Count + keep.Count)
        {
            yield return $"The curvature is that of the examples to forget and to keep together, {forget.Count + keep.Count}; this "
                + $"{_preconditioner.Info.Method} was fitted on {seen}. Fit it on train.Only(forget.Concat(keep)).";
        }
    }

    private Tensor Step(UnlearningRun run, Gradients.GradientSession session, ParameterVector layout)
    {
        using var scope = NewDisposeScope();
        using var inverse = _preconditioner.Prepare(session, Damping, 0, run.Reporter.Token);
        CurvatureProduct? product = null;
        if (Order != GroupEffect.Expansion.First)
        {
            product = CurvatureProduct.Of(CurvatureSolver.MatrixOf(_preconditioner.Info) ?? CurvatureMatrix.GaussNewton, session, layout);
            product.Try(run.All);
        }

        var steps = new GroupSteps(
            _preconditioner,
            new InnerInverse(inverse, layout, damping: 0).Apply,
            inverse.Dampings,
            new GroupGradients(session, layout, MemoryBudget, run.Reporter),
            product,
            Order,
            run.Reporter
        ).Of(run.All, ExampleGroups.FromMembers(("forget", run.Forget.Ids)), weight: 0);
        return steps.Single(step => step.Order == Order).Steps.select(0, 0).clone().MoveToOuterDisposeScope(); // [P]
    }
}
