using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Comparisons, and logic on their results.</summary>
    public partial class Tensor
    {
        public Tensor eq(Tensor target) => Aten.eq_Tensor.Call(this, target);

        public Tensor eq(Scalar target) => Aten.eq_Scalar.Call(this, target);

        public Tensor eq_(Tensor target) => Aten.eq__Tensor.CallInPlace(this, target);

        public Tensor eq_(Scalar target) => Aten.eq__Scalar.CallInPlace(this, target);

        public Tensor ne(Tensor target) => Aten.ne_Tensor.Call(this, target);

        public Tensor ne(Scalar target) => Aten.ne_Scalar.Call(this, target);

        public Tensor ne_(Tensor target) => Aten.ne__Tensor.CallInPlace(this, target);

        public Tensor ne_(Scalar target) => Aten.ne__Scalar.CallInPlace(this, target);

        public Tensor lt(Tensor target) => Aten.lt_Tensor.Call(this, target);

        public Tensor lt(Scalar target) => Aten.lt_Scalar.Call(this, target);

        public Tensor lt_(Tensor target) => Aten.lt__Tensor.CallInPlace(this, target);

        public Tensor lt_(Scalar target) => Aten.lt__Scalar.CallInPlace(this, target);

        public Tensor le(Tensor target) => Aten.le_Tensor.Call(this, target);

        public Tensor le(Scalar target) => Aten.le_Scalar.Call(this, target);

        public Tensor le_(Tensor target) => Aten.le__Tensor.CallInPlace(this, target);

        public Tensor le_(Scalar target) => Aten.le__Scalar.CallInPlace(this, target);

        public Tensor gt(Tensor target) => Aten.gt_Tensor.Call(this, target);

        public Tensor gt(Scalar target) => Aten.gt_Scalar.Call(this, target);

        public Tensor gt_(Tensor target) => Aten.gt__Tensor.CallInPlace(this, target);

        public Tensor gt_(Scalar target) => Aten.gt__Scalar.CallInPlace(this, target);

        public Tensor ge(Tensor target) => Aten.ge_Tensor.Call(this, target);

        public Tensor ge(Scalar target) => Aten.ge_Scalar.Call(this, target);

        public Tensor ge_(Tensor target) => Aten.ge__Tensor.CallInPlace(this, target);

        public Tensor ge_(Scalar target) => Aten.ge__Scalar.CallInPlace(this, target);

        public Tensor equal(Tensor target) => eq(target);

        public Tensor not_equal(Tensor target) => ne(target);

        public Tensor not_equal_(Tensor target) => ne_(target);

        public Tensor less(Tensor target) => lt(target);

        public Tensor less_equal(Tensor target) => le(target);

        public Tensor greater(Tensor target) => gt(target);

        public Tensor greater_equal(Tensor target) => ge(target);

        public Tensor isclose(Tensor other, double rtol = 1E-05, double atol = 1E-08, bool nanEqual = false) =>
            Aten.isclose.Call(this, other, rtol, atol, nanEqual);

        public bool allclose(Tensor target, double rtol = 1E-05, double atol = 1E-08, bool equal_nan = false) =>
            Aten.allclose.CallBool(this, target, rtol, atol, equal_nan);

        public Tensor isin(Tensor test_elements, bool assumeUnique = false, bool invert = false) =>
            Aten.isin_Tensor_Tensor.Call(this, test_elements, assumeUnique, invert);

        public Tensor isfinite() => Aten.isfinite.Call(this);

        public Tensor isinf() => Aten.isinf.Call(this);

        public Tensor isnan() => Aten.isnan.Call(this);

        public Tensor isneginf() => Aten.isneginf.Call(this);

        public Tensor isposinf() => Aten.isposinf.Call(this);

        public Tensor logical_not() => Aten.logical_not.Call(this);

        public Tensor logical_not_() => Aten.logical_not_.CallInPlace(this);

        public Tensor logical_and(Tensor other) => Aten.logical_and.Call(this, other);

        public Tensor logical_and_(Tensor other) => Aten.logical_and_.CallInPlace(this, other);

        public Tensor logical_or(Tensor other) => Aten.logical_or.Call(this, other);

        public Tensor logical_or_(Tensor other) => Aten.logical_or_.CallInPlace(this, other);

        public Tensor logical_xor(Tensor other) => Aten.logical_xor.Call(this, other);

        public Tensor logical_xor_(Tensor other) => Aten.logical_xor_.CallInPlace(this, other);
    }
}

internal static partial class Aten
{
    public static readonly Operator allclose = new("aten::allclose");
    public static readonly Operator eq_Scalar = new("aten::eq", "Scalar");
    public static readonly Operator eq_Tensor = new("aten::eq", "Tensor");
    public static readonly Operator eq__Scalar = new("aten::eq_", "Scalar");
    public static readonly Operator eq__Tensor = new("aten::eq_", "Tensor");
    public static readonly Operator ge_Scalar = new("aten::ge", "Scalar");
    public static readonly Operator ge_Tensor = new("aten::ge", "Tensor");
    public static readonly Operator ge__Scalar = new("aten::ge_", "Scalar");
    public static readonly Operator ge__Tensor = new("aten::ge_", "Tensor");
    public static readonly Operator gt_Scalar = new("aten::gt", "Scalar");
    public static readonly Operator gt_Tensor = new("aten::gt", "Tensor");
    public static readonly Operator gt__Scalar = new("aten::gt_", "Scalar");
    public static readonly Operator gt__Tensor = new("aten::gt_", "Tensor");
    public static readonly Operator isclose = new("aten::isclose");
    public static readonly Operator isfinite = new("aten::isfinite");
    public static readonly Operator isin_Tensor_Tensor = new("aten::isin", "Tensor_Tensor");
    public static readonly Operator isinf = new("aten::isinf");
    public static readonly Operator isnan = new("aten::isnan");
    public static readonly Operator isneginf = new("aten::isneginf");
    public static readonly Operator isposinf = new("aten::isposinf");
    public static readonly Operator le_Scalar = new("aten::le", "Scalar");
    public static readonly Operator le_Tensor = new("aten::le", "Tensor");
    public static readonly Operator le__Scalar = new("aten::le_", "Scalar");
    public static readonly Operator le__Tensor = new("aten::le_", "Tensor");
    public static readonly Operator logical_and = new("aten::logical_and");
    public static readonly Operator logical_and_ = new("aten::logical_and_");
    public static readonly Operator logical_not = new("aten::logical_not");
    public static readonly Operator logical_not_ = new("aten::logical_not_");
    public static readonly Operator logical_or = new("aten::logical_or");
    public static readonly Operator logical_or_ = new("aten::logical_or_");
    public static readonly Operator logical_xor = new("aten::logical_xor");
    public static readonly Operator logical_xor_ = new("aten::logical_xor_");
    public static readonly Operator lt_Scalar = new("aten::lt", "Scalar");
    public static readonly Operator lt_Tensor = new("aten::lt", "Tensor");
    public static readonly Operator lt__Scalar = new("aten::lt_", "Scalar");
    public static readonly Operator lt__Tensor = new("aten::lt_", "Tensor");
    public static readonly Operator ne_Scalar = new("aten::ne", "Scalar");
    public static readonly Operator ne_Tensor = new("aten::ne", "Tensor");
    public static readonly Operator ne__Scalar = new("aten::ne_", "Scalar");
    public static readonly Operator ne__Tensor = new("aten::ne_", "Tensor");
}
