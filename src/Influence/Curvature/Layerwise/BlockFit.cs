using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>Which eigenvalues a fit makes.</summary>
internal enum CurvatureKind
{
    /// <summary>The mean squared gradient of every element.</summary>
    Diagonal,

    /// <summary>Products of the covariances' eigenvalues.</summary>
    Kfac,

    /// <summary>Measured along the covariances' eigenvectors.</summary>
    Ekfac,
}

/// <summary>
/// Gathers the statistics of one block over the training examples: covariances in a first pass, eigenvalues in a second
/// where there is one. Owns its tensors until <see cref="Finish"/> hands them on.
/// </summary>
internal abstract class BlockFit : IDisposable
{
    /// <summary>Whether <see cref="AddEigenvalues"/> wants a second pass.</summary>
    public virtual bool NeedsSecondPass => false;

    /// <summary>First pass: one batch.</summary>
    public abstract void Add(BlockGradients gradients);

    /// <summary>Whether what was gathered in the first pass are numbers: nothing else can be decomposed.</summary>
    public virtual bool IsFinite => true;

    /// <summary>Between the passes: decomposes the covariances.</summary>
    public virtual void Decompose() { }

    /// <summary>Second pass: one batch.</summary>
    public virtual void AddEigenvalues(BlockGradients gradients) { }

    /// <summary>Names what a stage gathers, or what it left, to a state that writes it or adds what others gathered.</summary>
    public abstract void Exchange(FitState state, FitStage stage);

    /// <summary>The fitted curvature; owns the tensors from here.</summary>
    /// <param name="name">The names of the block's parameters.</param>
    /// <param name="examples">N, also counting examples that never reached the block.</param>
    public abstract BlockCurvature Finish(string name, long examples);

    public abstract void Dispose();

    /// <summary>The fit for a block of this form.</summary>
    /// <param name="sample">The block's gradients in a first batch.</param>
    /// <param name="kind">Which eigenvalues.</param>
    /// <param name="outputs">The sizes of the diagonal blocks of the outputs' covariance; null for the layer's own.</param>
    /// <param name="maximumFactor">The largest diagonal block.</param>
    /// <param name="inputs">Covariances of inputs that layers share.</param>
    /// <param name="factors">The kind of factors.</param>
    public static BlockFit For(
        BlockGradients sample,
        CurvatureKind kind,
        IReadOnlyList<long>? outputs,
        int maximumFactor,
        SharedInputs inputs,
        LayerwisePreconditioner.FactorKind factors
    ) =>
        (sample, kind) switch
        {
            (FactoredGradients { Weight: true } f, not CurvatureKind.Diagonal) => new KroneckerFit(
                FactorSums.Of(factors, f, outputs, maximumFactor, inputs),
                measured: kind == CurvatureKind.Ekfac
            ),
            (GroupedGradients, not CurvatureKind.Diagonal) => new GroupedFit(factors, measured: kind == CurvatureKind.Ekfac),
            ({ HeadOfTable: { } head }, CurvatureKind.Ekfac) => new TiedFit(sample, head, maximumFactor),
            (TokenGradients t, _) => new TokenFit(t, kind, maximumFactor, factors),
            _ => new DiagonalFit(),
        };
}

/// <summary>The fit of a block whose gradients are of one kind in every batch.</summary>
/// <typeparam name="TGradients">The kind.</typeparam>
internal abstract class BlockFit<TGradients> : BlockFit
    where TGradients : BlockGradients
{
    public sealed override void Add(BlockGradients gradients) => AddOwn((TGradients)gradients);

    public sealed override void AddEigenvalues(BlockGradients gradients) => AddOwnEigenvalues((TGradients)gradients);

    /// <summary>First pass: one batch.</summary>
    protected abstract void AddOwn(TGradients gradients);

    /// <summary>Second pass: one batch.</summary>
    protected abstract void AddOwnEigenvalues(TGradients gradients);
}
