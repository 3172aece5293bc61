namespace Influence.Gradients;

/// <summary>What a product q' M z is divided by.</summary>
internal enum Normalization
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>sqrt(q' M q z' M z): between -1 and 1; zero where one of them is zero.</summary>
    Cosine,

    /// <summary>sqrt(z' M z).</summary>
    LossRelative,

    /// <summary>|M z|.</summary>
    ThetaRelative,
}
