using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Activation functions that are tensor operators.</summary>
    public partial class Tensor
    {
        public Tensor relu() => Aten.relu.Call(this);

        public Tensor relu_() => Aten.relu_.CallInPlace(this);

        public Tensor sigmoid() => Aten.sigmoid.Call(this);

        public Tensor silu() => Aten.silu.Call(this);

        public Tensor gelu() => Aten.gelu.Call(this);

        public Tensor elu(double alpha = 1) => Aten.elu.Call(this, alpha);

        public Tensor leaky_relu(Scalar negative_slope) => Aten.leaky_relu.Call(this, negative_slope);

        public Tensor threshold(Scalar threshold, Scalar value) => Aten.threshold.Call(this, threshold, value);

        public Tensor softplus(double beta = 1, double threshold = 20) => Aten.softplus.Call(this, beta, threshold);

        public Tensor logit(double? eps = null) => Aten.logit.Call(this, eps);

        public Tensor softmax(long dim, ScalarType? dtype = null) => Aten.softmax_int.Call(this, dim, dtype);

        public Tensor log_softmax(long dim, ScalarType? dtype = null) => Aten.log_softmax_int.Call(this, dim, dtype);
    }
}

internal static partial class Aten
{
    public static readonly Operator elu = new("aten::elu");
    public static readonly Operator gelu = new("aten::gelu");
    public static readonly Operator leaky_relu = new("aten::leaky_relu");
    public static readonly Operator log_softmax_int = new("aten::log_softmax", "int");
    public static readonly Operator logit = new("aten::logit");
    public static readonly Operator relu = new("aten::relu");
    public static readonly Operator relu_ = new("aten::relu_");
    public static readonly Operator sigmoid = new("aten::sigmoid");
    public static readonly Operator silu = new("aten::silu");
    public static readonly Operator softmax_int = new("aten::softmax", "int");
    public static readonly Operator softplus = new("aten::softplus");
    public static readonly Operator threshold = new("aten::threshold");
}
