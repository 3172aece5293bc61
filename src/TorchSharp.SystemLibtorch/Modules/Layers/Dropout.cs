using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Zeroes elements with probability p in training and scales the rest by 1/(1-p).</summary>
public sealed class Dropout : ParameterLessModule<Tensor, Tensor>
{
    internal Dropout(double p, bool inplace) : base(nameof(Dropout))
    {
        this.p = p;
        this.inplace = inplace;
    }

    public bool inplace { get; set; }

    public double p { get; set; }

    public override Tensor forward(Tensor tensor) => nn.functional.dropout(tensor, p, training, inplace);
}

/// <summary>Dropout of whole channels of <c>[B, C, L]</c>.</summary>
public sealed class Dropout1d : ParameterLessModule<Tensor, Tensor>
{
    internal Dropout1d(double p, bool inplace) : base(nameof(Dropout1d))
    {
        this.p = p;
        this.inplace = inplace;
    }

    public bool inplace { get; set; }

    public double p { get; set; }

    public override Tensor forward(Tensor tensor)
        => tensor.shape.Length == 3
            ? nn.functional.dropout1d(tensor, p, training, inplace)
            : throw new ArgumentException(
                $"Dropout1d expects 3 dimensions, but got {tensor.shape.Length}.", nameof(tensor));
}

/// <summary>Dropout of whole channels of <c>[B, C, H, W]</c>.</summary>
public sealed class Dropout2d : ParameterLessModule<Tensor, Tensor>
{
    internal Dropout2d(double p, bool inplace) : base(nameof(Dropout2d))
    {
        this.p = p;
        this.inplace = inplace;
    }

    public bool inplace { get; set; }

    public double p { get; set; }

    public override Tensor forward(Tensor input) => nn.functional.dropout2d(input, p, training, inplace);
}
