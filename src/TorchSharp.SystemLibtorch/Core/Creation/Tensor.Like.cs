using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>New tensors with the shape, or only the element type and device, of this one.</summary>
    public partial class Tensor
    {
        public Tensor zeros_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            Like(Aten.zeros_like, dtype, device, requires_grad);

        public Tensor ones_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            Like(Aten.ones_like, dtype, device, requires_grad);

        public Tensor randn_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            Like(Aten.randn_like, dtype, device, requires_grad);

        public Tensor full_like(
            Scalar value, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            Aten.full_like.Call(this, value, dtype, Argument.None, device).WithGrad(requires_grad);

        public Tensor new_zeros(
            long[] size, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            Aten.new_zeros.Call(this, size, dtype, Argument.None, device).WithGrad(requires_grad);

        private Tensor Like(Operator op, ScalarType? dtype, Device? device, bool requires_grad) =>
            op.Call(this, dtype, Argument.None, device).WithGrad(requires_grad);
    }

    public static Tensor zeros_like(
        Tensor input, ScalarType? dtype = null, Device? device = null, bool requires_grad = false,
        string[]? names = null)
    {
        NoNames(names);
        return input.zeros_like(dtype, device, requires_grad);
    }

    public static Tensor ones_like(
        Tensor input, ScalarType? dtype = null, Device? device = null, bool requires_grad = false,
        string[]? names = null)
    {
        NoNames(names);
        return input.ones_like(dtype, device, requires_grad);
    }

    public static Tensor full_like(
        Tensor input, Scalar value, ScalarType? dtype = null, Device? device = null, bool requires_grad = false,
        string[]? names = null)
    {
        NoNames(names);
        return input.full_like(value, dtype, device, requires_grad);
    }

    public static Tensor randn_like(
        Tensor input, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        input.randn_like(dtype, device, requires_grad);
}

internal static partial class Aten
{
    public static readonly Operator zeros_like = new("aten::zeros_like");
    public static readonly Operator ones_like = new("aten::ones_like");
    public static readonly Operator full_like = new("aten::full_like");
    public static readonly Operator randn_like = new("aten::randn_like");
    public static readonly Operator new_zeros = new("aten::new_zeros");
}
