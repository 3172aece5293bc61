using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The two-sided projection of a part of a block, G <c>[O, I]</c> to L' G R <c>[k_o, k_i]</c>, and where it goes in a row of numbers.
/// </summary>
/// <param name="Outputs">O.</param>
/// <param name="Inputs">I.</param>
/// <param name="First">The first of its columns in the row.</param>
/// <param name="Left">L, <c>[O, k_o]</c>; null for the identity.</param>
/// <param name="Right">R, <c>[I, k_i]</c>; null for the identity.</param>
internal record PartProjection(long Outputs, long Inputs, long First, Tensor? Left, Tensor? Right)
{
    /// <summary>k_o + k_i.</summary>
    public virtual long KeptSides => (Left?.shape[1] ?? Outputs) + (Right?.shape[1] ?? Inputs);

    /// <summary>Projects and adds what is written out, <c>[B, O*I]</c>.</summary>
    public virtual void AddWritten(Tensor rows, Tensor gradients)
    {
        using var scope = NewDisposeScope();
        var g = Times(gradients.reshape(-1, Outputs, Inputs), Right); // [B, O, k_i]
        Add(rows, Left is null ? g : Left.t().expand(g.shape[0], -1, -1).bmm(g)); // [B, k_o, k_i]
    }

    /// <summary>Projects and adds sum over t of d_t a_t', position by position: (d L)' (a R).</summary>
    public virtual void AddFactors(Tensor rows, Tensor outputGradient, Tensor activation) =>
        AddHalf(rows, Times(outputGradient, Left), activation);

    /// <summary>Projects and adds a table's gradient, d_t in row x_t: the rows of L that occur stand for the outputs.</summary>
    public void AddTokens(Tensor rows, Tensor tokens, Tensor outputGradient) =>
        AddHalf(rows, Left!.index_select(0, tokens.reshape(-1)).reshape(tokens.shape[0], -1, Left.shape[1]), outputGradient);

    /// <summary>Adds left' (right R), with left projected already, <c>[B, T, k_o]</c>.</summary>
    private void AddHalf(Tensor rows, Tensor left, Tensor right)
    {
        using var scope = NewDisposeScope();
        right = Times(right, Right); // [B, T, k_i]
        if (left.shape[1] > 1)
        {
            Add(rows, left.transpose(1, 2).bmm(right));
            return;
        }

        // Of one position the product is written to its place at once: many small matrix products, and a copy of all, cost more.
        using Scalar one = Kept(1);
        rows.narrow(1, First, left.shape[2] * right.shape[2])
            .view(-1, left.shape[2], right.shape[2])
            .addcmul_(left.transpose(1, 2), right, one);
    }

    private void Add(Tensor rows, Tensor values)
    {
        // Named: a number that TorchSharp makes on the way may be freed while libtorch reads it.
        using Scalar one = Kept(1);
        var flat = values.reshape(rows.shape[0], -1);
        rows.narrow(1, First, flat.shape[1]).add_(flat, one);
    }

    /// <summary>Values <c>[..., I]</c> times a matrix <c>[I, k]</c>.</summary>
    private static Tensor Times(Tensor values, Tensor? matrix) =>
        matrix is null ? values : values.reshape(-1, matrix.shape[0]).mm(matrix).reshape([.. values.shape[..^1], matrix.shape[1]]);
}
