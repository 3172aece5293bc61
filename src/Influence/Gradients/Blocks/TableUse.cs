namespace Influence.Gradients;

/// <summary>What a layer may be to a table that is embedding and head at once.</summary>
internal enum TableUse
{
    /// <summary>Neither.</summary>
    None,

    /// <summary>It looks rows of the table up.</summary>
    Embedding,

    /// <summary>It is a linear layer with the table as its weight, as it stands and without a bias.</summary>
    Head,
}
