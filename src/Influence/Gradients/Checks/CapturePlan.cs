namespace Influence.Gradients;

/// <summary>What the audit decided: how each parameter's gradient is taken, and how far the layers protect what they keep.</summary>
internal sealed record CapturePlan
{
    /// <summary>Makes the plan of these decisions.</summary>
    /// <param name="layers">Every watched layer, in a fixed order; those that hold none of the parameters fall out.</param>
    /// <param name="mode">What layers keep.</param>
    /// <param name="byRule">Parameters whose gradients the layers give.</param>
    /// <param name="bySingleExample">Parameters that are taken by one pass for each example.</param>
    /// <param name="coverage">The report.</param>
    /// <param name="apart">Parameters for which this differs never share a block; null: all may.</param>
    public CapturePlan(
        IEnumerable<TrackedLayer> layers,
        TapMode mode,
        IReadOnlyList<ModelParameter> byRule,
        IReadOnlyList<ModelParameter> bySingleExample,
        ParameterCoverage coverage,
        Func<ModelParameter, object>? apart = null
    )
    {
        Layers = [.. layers.Where(layer => byRule.Any(layer.Holds))];
        Blocks = ParameterBlock.Group(byRule, Layers, apart ?? (_ => 0));
        (Mode, ByRule, BySingleExample, Coverage) = (mode, [.. byRule], [.. bySingleExample], coverage);
    }

    /// <summary>What layers keep.</summary>
    public TapMode Mode { get; init; }

    /// <summary>The layers that note what they see.</summary>
    public IReadOnlyList<TrackedLayer> Layers { get; }

    /// <summary>Parameters whose gradients the layers give.</summary>
    public IReadOnlyList<ModelParameter> ByRule { get; }

    /// <summary>Parameters that are taken by one pass for each example.</summary>
    public IReadOnlyList<ModelParameter> BySingleExample { get; }

    /// <summary>The blocks of the parameters with a rule.</summary>
    public IReadOnlyList<ParameterBlock> Blocks { get; }

    /// <summary>The report.</summary>
    public ParameterCoverage Coverage { get; init; }
}
