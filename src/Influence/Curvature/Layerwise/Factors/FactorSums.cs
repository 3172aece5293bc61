using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// What the first pass of a Kronecker factored fit sums up for one linear layer, and the bases that come of it: one file for each kind of
/// factors. Owns its tensors.
/// </summary>
internal abstract class FactorSums : IDisposable
{
    /// <summary>The sums of a kind for a layer of a first batch.</summary>
    /// <param name="kind">The kind of factors.</param>
    /// <param name="sample">The layer's gradients in a first batch.</param>
    /// <param name="outputs">The sizes of the layer's own outputs that belong together; null for the layer's own.</param>
    /// <param name="maximumFactor">The largest diagonal block.</param>
    /// <param name="inputs">Covariances of inputs that layers share.</param>
    public static FactorSums Of(
        LayerwisePreconditioner.FactorKind kind,
        FactoredGradients sample,
        IReadOnlyList<long>? outputs,
        int maximumFactor,
        SharedInputs inputs
    )
    {
        // Where the factors have changed places, what splits belong to are the inputs.
        var ofInputs = sample.IsTransposed ? outputs : null;
        var ofOutputs = sample.IsTransposed ? null : outputs;
        var output = new Covariance(FactorLayout.Sizes(ofOutputs ?? [sample.Outputs], maximumFactor));
        return kind switch
        {
            LayerwisePreconditioner.FactorKind.Shampoo => new ShampooSums(Input(), output),
            LayerwisePreconditioner.FactorKind.Tkfac => new TkfacSums(Input(), output),
            _ => new KfacSums(inputs.For(sample, maximumFactor, ofInputs), output),
        };

        Covariance Input() => new(FactorLayout.Sizes(ofInputs ?? [sample.Inputs + (sample.Bias ? 1 : 0)], maximumFactor));
    }

    /// <summary>The same for every group of a convolution: sums over a batch of matrices <c>[g, n, n]</c>, and how many of what the
    /// output's mean is over were added; zero where those are examples.</summary>
    /// <param name="kind">The kind of factors.</param>
    /// <param name="a">Activations, <c>[B, g, T, I']</c>.</param>
    /// <param name="d">Output gradients, <c>[B, g, T, O/g]</c>.</param>
    public static (Tensor Input, Tensor Output, double Rows) OfGroups(LayerwisePreconditioner.FactorKind kind, Tensor a, Tensor d) =>
        kind switch
        {
            LayerwisePreconditioner.FactorKind.Shampoo => ShampooSums.OfGroups(a, d),
            LayerwisePreconditioner.FactorKind.Tkfac => TkfacSums.OfGroups(a, d),
            _ => KfacSums.OfGroups(a, d),
        };

    /// <summary>
    /// The same for an embedding table, whose inputs are tokens: the input's factor is a diagonal, what each of the given tokens adds to
    /// it, and the output's is the sum of r r' over the given rows r.
    /// </summary>
    /// <param name="kind">The kind of factors.</param>
    /// <param name="gradients">Of a batch.</param>
    /// <returns>Tokens <c>[R]</c>, what they add <c>[R]</c> in float64, the rows <c>[R, D]</c>, and how many of what the output's mean is
    /// over they are; zero where those are examples.</returns>
    public static (Tensor Tokens, Tensor Added, Tensor Rows, double Count) OfTable(
        LayerwisePreconditioner.FactorKind kind,
        TokenGradients gradients
    ) =>
        kind switch
        {
            LayerwisePreconditioner.FactorKind.Shampoo => ShampooSums.OfTable(gradients),
            LayerwisePreconditioner.FactorKind.Tkfac => TkfacSums.OfTable(gradients),
            _ => KfacSums.OfTable(gradients),
        };

    /// <summary>A method's name with factors of a kind.</summary>
    /// <param name="method">Its name with those of K-FAC.</param>
    /// <param name="kind">The kind of factors.</param>
    public static string NameOf(string method, LayerwisePreconditioner.FactorKind kind) =>
        kind == LayerwisePreconditioner.FactorKind.Kfac
            ? method
            : (method == Ekfac.Method ? "EC-" : string.Empty)
                + (kind == LayerwisePreconditioner.FactorKind.Shampoo ? ShampooSums.Name : TkfacSums.Name);

    /// <summary>A method's names with every kind of factors.</summary>
    public static IReadOnlyList<string> NamesOf(string method) =>
        [.. Enum.GetValues<LayerwisePreconditioner.FactorKind>().Select(kind => NameOf(method, kind))];

    /// <summary>Adds a batch.</summary>
    public abstract void Add(FactoredGradients gradients);

    /// <summary>Whether what was added up are numbers.</summary>
    public abstract bool IsFinite { get; }

    /// <summary>The bases of the input and of the output; the sums are freed.</summary>
    public abstract (FactorBasis Input, FactorBasis Output) Decompose(ScalarType dtype);

    /// <summary>Names the sums.</summary>
    public abstract void Exchange(FitState state);

    /// <summary>Names the bases.</summary>
    public virtual void ExchangeBases(FitState state, ref FactorBasis? input, ref FactorBasis? output)
    {
        state.Basis("input", ref input);
        state.Basis("output", ref output);
    }

    /// <summary>Takes the means over examples, where the sums are over those.</summary>
    /// <param name="output">The output's basis.</param>
    /// <param name="examples">N, also counting examples that never reached the layer.</param>
    public virtual void Finish(FactorBasis output, long examples) { }

    public abstract void Dispose();
}
