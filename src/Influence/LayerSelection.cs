namespace Influence;

/// <summary>
/// Which of the model's trainable parameters take part in the scores. All of them unless said otherwise: leaving layers
/// out makes scores cheaper and coarser.
/// </summary>
/// <remarks>
/// <see cref="Last"/>, <see cref="Attention"/> and <see cref="Mlp"/> are found from one forward pass over one of the first examples, and
/// <see cref="NotEmbeddings"/> from the modules' types: no name of a parameter is read, so that they mean the same in a model of one's own,
/// in GPT-2 and in BERT. What was found is told by <see cref="Gradients.TaskCoverage.Coverage"/>.
/// </remarks>
public sealed class LayerSelection
{
    private LayerSelection(string description, Func<string, bool> includes, LayerRole role = LayerRole.ByName)
    {
        Description = description;
        Includes = includes;
        Role = role;
    }

    /// <summary>Every trainable parameter.</summary>
    public static LayerSelection All { get; } = new("all layers", _ => true);

    /// <summary>
    /// Only the layer that is called last in the forward pass: no backward pass through the rest of the model is run
    /// (unless its weight is tied to an earlier layer's: that gradient is whole, and slow).
    /// </summary>
    public static LayerSelection Last { get; } = new("last layer", _ => true, LayerRole.Last);

    /// <summary>
    /// The projections of attention, with their biases: all of a native <c>MultiheadAttention</c>; of native encoder and decoder layers
    /// what attends; and of a model's own attention every linear layer that feeds it or is fed by it. Norms are not among them.
    /// </summary>
    /// <remarks>
    /// A linear layer m (<c>Linear</c>, <see cref="Gradients.TransposedLinear"/>, or any leaf module with a weight matrix) is an output
    /// projection where what it sees at one position depends on the outputs of linear layers at other positions, with no layer that has
    /// weights of its own between, and where these feed nothing else; they are its queries, keys and values. Two linear layers with nothing
    /// between and a narrow middle, as of LoRA, count as one. Dependence is measured: the vector-Jacobian products of every layer's input
    /// with the layers' outputs, for one example. Attention without an output projection is not found so, and a mean over positions is no
    /// attention. Where there is none, a call says so: write <see cref="Where"/>.
    /// </remarks>
    public static LayerSelection Attention { get; } = new("attention", _ => true, LayerRole.Attention);

    /// <summary>
    /// The linear layers of MLPs, gated or not, with their biases: linear layers whose outputs feed one other linear layer and nothing
    /// else, at the same position and with a nonlinearity between, and that layer. In a model with attention the layers that make its
    /// output (a head of one or several layers) are not among them; found as <see cref="Attention"/> is. Of native encoder and decoder
    /// layers the two linear ones.
    /// </summary>
    public static LayerSelection Mlp { get; } = new("MLP", _ => true, LayerRole.Mlp);

    /// <summary>
    /// All but the tables of <c>Embedding</c> and <c>EmbeddingBag</c> modules. A head that is tied to such a table is that table, and left
    /// out with it. In a model without embeddings the same as <see cref="All"/>.
    /// </summary>
    public static LayerSelection NotEmbeddings { get; } = new("all but embeddings", _ => true, LayerRole.NotEmbeddings);

    /// <summary>What is selected, in words; it goes into the scores' metadata.</summary>
    public string Description { get; }

    /// <summary>By name; true for every name where the selection goes by another property, <see cref="Role"/>.</summary>
    internal Func<string, bool> Includes { get; }

    internal LayerRole Role { get; }

    internal bool LastOnly => Role == LayerRole.Last;

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

/// <summary>What a selection goes by, where that is not a name.</summary>
internal enum LayerRole
{
    ByName,
    Last,
    Attention,
    Mlp,
    NotEmbeddings,
}
