using TorchSharp.Utils;
using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>What convolutions of any dimension share: their settings, their parameters and how they pad.</summary>
public abstract class Convolution : nn.Module<Tensor, Tensor>
{
    [ComponentName(Name = nameof(bias))]
    protected Parameter? _bias;

    [ComponentName(Name = nameof(weight))]
    protected Parameter? _weight;

    /// <summary>The padding as <c>pad</c> wants it: last dimension first, both sides of each.</summary>
    protected long[] _reversed_padding_repeated_twice = [];

    protected Convolution(
        string name,
        long in_channels,
        long out_channels,
        long[] kernel_size,
        long[] stride,
        long[]? padding,
        Padding? padding_type,
        long[] dilation,
        bool transposed,
        long[] output_padding,
        long groups,
        bool bias,
        PaddingModes padding_mode,
        Device? device = null,
        ScalarType? dtype = null) : base(name)
    {
        this.in_channels = in_channels;
        this.out_channels = out_channels;
        this.kernel_size = kernel_size;
        this.stride = stride;
        this.dilation = dilation;
        this.transposed = transposed;
        this.output_padding = output_padding;
        this.groups = groups;
        this.padding_mode = padding_mode;
        if (padding_type is { } type)
        {
            SetPadding(type);
        }
        else
        {
            SetPadding(padding ?? new long[kernel_size.Length]);
        }

        var (first, second) = transposed ? (in_channels, out_channels) : (out_channels, in_channels);
        weight = nn.Parameter(empty([first, second / groups, .. kernel_size], dtype, device));
        this.bias = bias ? nn.Parameter(empty(out_channels, dtype, device)) : null;
        reset_parameters();
    }

    public long in_channels { get; }

    public long out_channels { get; }

    public bool transposed { get; }

    public Padding? padding_type { get; private set; }

    public long[]? padding { get; private set; }

    public PaddingModes padding_mode { get; set; }

    public long groups { get; set; }

    public long[] kernel_size { get; set; }

    public long[] stride { get; set; }

    public long[] dilation { get; set; }

    public long[] output_padding { get; set; }

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

    public void reset_parameters() => DefaultInit.Fill(weight, bias);

    public void SetPadding(long[] padding)
    {
        padding_type = null;
        this.padding = padding;
        _reversed_padding_repeated_twice = [.. padding.Reverse().SelectMany(width => new[] { width, width })];
    }

    public void SetPadding(Padding padding)
    {
        if (transposed)
        {
            throw new ArgumentException("A transposed convolution takes its padding in numbers.", nameof(padding));
        }

        if (padding == Padding.Same && stride.Any(step => step != 1))
        {
            throw new ArgumentException("Padding 'same' needs a stride of 1.", nameof(padding));
        }

        this.padding = null;
        padding_type = padding;
        _reversed_padding_repeated_twice = padding == Padding.Same ? SamePadding() : new long[2 * kernel_size.Length];
    }

    /// <summary>
    /// Whether the input is <c>[B, C, ...]</c> or <c>[C, ...]</c> with the right C and number of dimensions.
    /// </summary>
    protected bool ValidateShape(Tensor input, long dimensions)
    {
        var shape = input.shape;
        return (shape.Length == dimensions + 2 && shape[1] == in_channels)
            || (shape.Length == dimensions + 1 && shape[0] == in_channels);
    }

    /// <summary>An odd rest goes to the far side, as in PyTorch.</summary>
    private long[] SamePadding() =>
    [
        .. Enumerable.Range(0, kernel_size.Length).Reverse().SelectMany(dimension =>
        {
            var total = dilation[dimension] * (kernel_size[dimension] - 1);
            return new[] { total / 2, total - (total / 2) };
        }),
    ];
}
