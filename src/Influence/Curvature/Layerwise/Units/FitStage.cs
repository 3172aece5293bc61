namespace Influence.Curvature;

/// <summary>What of a fit is kept between its passes.</summary>
internal enum FitStage
{
    /// <summary>What the first pass sums up.</summary>
    Sums,

    /// <summary>What the second pass and the result need of the first: bases, and sums that are no covariances.</summary>
    Bases,

    /// <summary>What the second pass sums up.</summary>
    Eigenvalues,
}
