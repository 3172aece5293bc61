namespace Influence.Curvature;

/// <summary>Which matrix stands for the curvature of the mean training loss.</summary>
public enum CurvatureMatrix
{
    /// <summary>
    /// The Gauss-Newton matrix (1/N) sum of J' B J, with J the Jacobian of the model's outputs and B the loss's Hessian in
    /// them: never negative, so that any damping makes it invertible. The default. It needs a loss made of <see cref="Losses"/>.
    /// </summary>
    GaussNewton,

    /// <summary>
    /// The Hessian of the mean training loss, of any loss that can be differentiated twice. Away from a minimum it may have negative
    /// eigenvalues.
    /// </summary>
    Hessian,
}
