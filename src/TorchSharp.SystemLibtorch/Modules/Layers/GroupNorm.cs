using TorchSharp.Utils;
using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Normalises each group of channels of <c>[B, C, ...]</c>, then scales and shifts each channel.</summary>
public sealed class GroupNorm : nn.Module<Tensor, Tensor>
{
    [ComponentName(Name = nameof(weight))]
    private Parameter? _weight;

    [ComponentName(Name = nameof(bias))]
    private Parameter? _bias;

    internal GroupNorm(long num_groups, long num_channels, double eps, bool affine, Device? device, ScalarType? dtype)
        : base(nameof(GroupNorm))
    {
        this.num_groups = num_groups;
        this.eps = eps;
        this.affine = affine;
        if (affine)
        {
            // TorchSharp 0.107 leaves these two uninitialised; PyTorch's one and zero are what is meant.
            weight = nn.Parameter(ones(num_channels, dtype, device));
            bias = nn.Parameter(zeros(num_channels, dtype, device));
        }
    }

    public long num_groups { get; set; }

    public double eps { get; set; }

    public bool affine { get; set; }

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

    public override Tensor forward(Tensor tensor)
        => tensor.shape.Length >= 3
            ? nn.functional.group_norm(tensor, num_groups, _weight, _bias, eps)
            : throw new ArgumentException(
                $"GroupNorm expects at least 3 dimensions, but got {tensor.shape.Length}.", nameof(tensor));
}
