namespace TrainingLoop;

/// <summary>A way to train.</summary>
internal enum Method
{
    /// <summary>On every example alike.</summary>
    Plain,

    /// <summary>The same, with recorders in the loop.</summary>
    Recorded,

    /// <summary>With weights from the batch's own losses.</summary>
    Reweighted,

    /// <summary>On the best half of a batch twice as large.</summary>
    Selected,

    /// <summary>On sources by their in-run values.</summary>
    Mixed,
}
