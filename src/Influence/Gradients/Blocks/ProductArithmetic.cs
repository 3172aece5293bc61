using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// How the matrix products of many queries with many training examples are reckoned: in the numbers' own type, or with factors that are
/// rounded to bfloat16 and sums in float32, which processors with such instructions do several times as fast.
/// </summary>
/// <remarks>
/// bfloat16 has 8 bits of precision and the exponents of float32, so that nothing needs to be scaled. With u = 2^-8 each rounded number
/// is off by at most u of itself. A product of two gradients is formed with at most six roundings (of the two sides of each gradient and of
/// what libtorch gives back, or of gradients that are written out), so that by Cauchy and Schwarz it is off by at most about 6 u times
/// |g_q| |g_z| of each layer, where an example has one position; with more, times the sum of that over pairs of positions.
/// </remarks>
internal sealed class ProductArithmetic
{
    /// <summary>6 u.</summary>
    public const double Bound = 6.0 / 256;

    /// <summary>In the numbers' own type.</summary>
    public static readonly ProductArithmetic Own = new(null);

    /// <summary>In bfloat16.</summary>
    public static readonly ProductArithmetic BFloat16 = new(ScalarType.BFloat16);

    private readonly ScalarType? _type;

    private ProductArithmetic(ScalarType? type) => _type = type;

    /// <summary>What a setting may be: null or bfloat16.</summary>
    /// <exception cref="InfluenceException">Another type.</exception>
    public static ScalarType? Checked(ScalarType? type) =>
        type is null or ScalarType.BFloat16
            ? type
            : throw new InfluenceException(
                $"ProductType is null, the model's own type, or ScalarType.BFloat16; found {type}."
                    + (
                        type == ScalarType.Float16
                            ? " Gradients leave the range of float16 (6e-8 to 65,504); that of bfloat16 is float32's."
                            : ""
                    )
            );

    /// <summary>That of a setting, for gradients of a type.</summary>
    /// <param name="type">Null or bfloat16.</param>
    /// <param name="gradients">The type of the session's gradients.</param>
    /// <exception cref="InfluenceException">The gradients are not float32.</exception>
    public static ProductArithmetic Of(ScalarType? type, ScalarType gradients) =>
        type is null ? Own
        : gradients == ScalarType.Float32 ? BFloat16
        : throw new InfluenceException(
            $"ProductType = {type} is for gradients in float32; these are in {gradients}, as the model is. Leave it out, or convert the "
                + "model: model.to(ScalarType.Float32)."
        );

    /// <summary>The types of a run's numbers, for the manifest of a folder of work.</summary>
    public static string Describe(ScalarType gradients, ScalarType? products) =>
        products is null ? gradients.ToString() : $"{gradients}, products in {products}";

    /// <summary>What scores say of themselves, with what rounded products mean for them.</summary>
    /// <param name="metadata">Of the scores.</param>
    /// <param name="type">What their products were rounded to; null where they were not.</param>
    public static ScoreMetadata Noted(ScoreMetadata metadata, ScalarType? type) =>
        type is null ? metadata : metadata with { Notes = ScoreMetadata.Joined(metadata.Notes, RoundingNote) };

    private const string RoundingNote =
        "products of gradients in bfloat16 with sums in float32: of each layer an error of up to 2.4% of the largest that the product "
        + "could be, a few hundredths of a percent as a rule";

    /// <summary>A factor, rounded once where it is used several times; itself, or a tensor of the current scope.</summary>
    public Tensor Rounded(Tensor factor) => _type is { } type && factor.dtype != type ? factor.to_type(type) : factor;

    /// <summary>The type that factors like this are kept in.</summary>
    public ScalarType TypeOf(Tensor factor) => _type ?? factor.dtype;

    /// <summary>left right, in the type of the products.</summary>
    /// <param name="left"><c>[M, K]</c>.</param>
    /// <param name="right"><c>[K, N]</c>.</param>
    /// <param name="products">The type that the product is given in.</param>
    public Tensor Product(Tensor left, Tensor right, ScalarType products) =>
        _type is null ? left.mm(right) : Rounded(left).mm(Rounded(right)).to_type(products);

    /// <summary>target += left right.</summary>
    /// <param name="target"><c>[M, N]</c>.</param>
    /// <param name="left"><c>[M, K]</c>.</param>
    /// <param name="right"><c>[K, N]</c>.</param>
    public void AddProduct(Tensor target, Tensor left, Tensor right)
    {
        if (_type is null)
        {
            target.addmm_(left, right);
        }
        else
        {
            target.add_(Rounded(left).mm(Rounded(right)));
        }
    }
}
