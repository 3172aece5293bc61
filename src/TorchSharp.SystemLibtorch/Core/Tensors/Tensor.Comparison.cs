using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Comparisons, and logic on their results.</summary>
    public partial class Tensor
    {
        public Tensor eq(Tensor target) => Aten.eq_Tensor.Call(this, target);

        public Tensor eq(Scalar target) => Aten.eq_Scalar.Call(this, target);

        public Tensor ne(Tensor target) => Aten.ne_Tensor.Call(this, target);

        public Tensor ne(Scalar target) => Aten.ne_Scalar.Call(this, target);

        public Tensor lt(Tensor target) => Aten.lt_Tensor.Call(this, target);

        public Tensor lt(Scalar target) => Aten.lt_Scalar.Call(this, target);

        public Tensor le(Tensor target) => Aten.le_Tensor.Call(this, target);

        public Tensor le(Scalar target) => Aten.le_Scalar.Call(this, target);

        public Tensor gt(Tensor target) => Aten.gt_Tensor.Call(this, target);

        public Tensor gt(Scalar target) => Aten.gt_Scalar.Call(this, target);

        public Tensor ge(Tensor target) => Aten.ge_Tensor.Call(this, target);

        public Tensor ge(Scalar target) => Aten.ge_Scalar.Call(this, target);

        public Tensor equal(Tensor target) => eq(target);

        public Tensor greater(Tensor target) => gt(target);


        public bool allclose(Tensor target, double rtol = 1E-05, double atol = 1E-08, bool equal_nan = false) =>
            Aten.allclose.CallBool(this, target, rtol, atol, equal_nan);

        public Tensor isfinite() => Aten.isfinite.Call(this);

        public Tensor isnan() => Aten.isnan.Call(this);

        public Tensor logical_not() => Aten.logical_not.Call(this);

        public Tensor logical_and(Tensor other) => Aten.logical_and.Call(this, other);

        public Tensor logical_or(Tensor other) => Aten.logical_or.Call(this, other);
    }
}

internal static partial class Aten
{
    public static readonly Operator allclose = new("aten::allclose");
    public static readonly Operator eq_Scalar = new("aten::eq", "Scalar");
    public static readonly Operator eq_Tensor = new("aten::eq", "Tensor");
    public static readonly Operator ge_Scalar = new("aten::ge", "Scalar");
    public static readonly Operator ge_Tensor = new("aten::ge", "Tensor");
    public static readonly Operator gt_Scalar = new("aten::gt", "Scalar");
    public static readonly Operator gt_Tensor = new("aten::gt", "Tensor");
    public static readonly Operator isfinite = new("aten::isfinite");
    public static readonly Operator isnan = new("aten::isnan");
    public static readonly Operator le_Scalar = new("aten::le", "Scalar");
    public static readonly Operator le_Tensor = new("aten::le", "Tensor");
    public static readonly Operator logical_and = new("aten::logical_and");
    public static readonly Operator logical_not = new("aten::logical_not");
    public static readonly Operator logical_or = new("aten::logical_or");
    public static readonly Operator lt_Scalar = new("aten::lt", "Scalar");
    public static readonly Operator lt_Tensor = new("aten::lt", "Tensor");
    public static readonly Operator ne_Scalar = new("aten::ne", "Scalar");
    public static readonly Operator ne_Tensor = new("aten::ne", "Tensor");
}
