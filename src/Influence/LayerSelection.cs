namespace Influence;

/// <summary>
/// Which of the model's trainable parameters take part in the scores. All of them unless said otherwise: leaving layers
/// out makes scores cheaper and coarser.
/// </summary>
public sealed class LayerSelection
{
    private LayerSelection(string description, Func<string, bool> includes, bool lastOnly = false)
    {
        Description = description;
        Includes = includes;
        LastOnly = lastOnly;
    }

    /// <summary>Every trainable parameter.</summary>
    public static LayerSelection All { get; } = new("all layers", _ => true);

    /// <summary>
    /// Only the layer that is called last in the forward pass: no backward pass through the rest of the model is run
    /// (unless its weight is tied to an earlier layer's: that gradient is whole, and slow).
    /// </summary>
    public static LayerSelection Last { get; } = new("last layer", _ => true, lastOnly: true);

    /// <summary>What is selected, in words; it goes into the scores' metadata.</summary>
    public string Description { get; }

    internal Func<string, bool> Includes { get; }

    internal bool LastOnly { get; }

    /// <summary>Only parameters whose name, as <c>named_parameters()</c> gives it, is accepted.</summary>
    /// <param name="includes">True for a parameter name that takes part, for example <c>n => n.StartsWith("head.")</c>.</param>
    /// <param name="description">What is selected, in words.</param>
    /// <returns>The selection.</returns>
    public static LayerSelection Where(Func<string, bool> includes, string description = "chosen layers")
    {
        ArgumentNullException.ThrowIfNull(includes);
        return new LayerSelection(description, includes);
    }

    /// <inheritdoc/>
    public override string ToString() => Description;
}
