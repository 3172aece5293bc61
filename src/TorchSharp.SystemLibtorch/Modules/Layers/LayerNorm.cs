using TorchSharp.Utils;
using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Normalises over the last dimensions, then scales and shifts each element.</summary>
public sealed class LayerNorm : nn.Module<Tensor, Tensor>
{
    [ComponentName(Name = nameof(weight))]
    private Parameter? _weight;

    [ComponentName(Name = nameof(bias))]
    private Parameter? _bias;

    internal LayerNorm(
        long[] normalized_shape,
        double eps,
        bool elementwise_affine,
        bool bias,
        Device? device,
        ScalarType? dtype)
        : base(nameof(LayerNorm))
    {
        this.normalized_shape = normalized_shape;
        this.eps = eps;
        this.elementwise_affine = elementwise_affine;
        if (elementwise_affine)
        {
            weight = nn.Parameter(empty(normalized_shape, dtype, device));
            this.bias = bias ? nn.Parameter(empty(normalized_shape, dtype, device)) : null;
        }

        reset_parameters();
    }

    public long[] normalized_shape { get; set; }

    public double eps { get; set; }

    public bool elementwise_affine { get; set; }

    public Parameter weight
    {
        get => _weight!;
        set => Adopt(ref _weight, nameof(weight), value);
    }

    public Parameter? bias
    {
        get => _bias;
        set => Adopt(ref _bias, nameof(bias), value);
    }

    public void reset_parameters()
    {
        if (_weight is not null)
        {
            nn.init.ones_(_weight);
        }

        if (_bias is not null)
        {
            nn.init.zeros_(_bias);
        }
    }

    public override Tensor forward(Tensor tensor)
        => nn.functional.layer_norm(tensor, normalized_shape, _weight, _bias, eps);
}
