using TorchSharp.Interop;

namespace TorchSharp;

/// <summary>
/// The operators that more than one file calls. Each file that needs operators of its own declares them at its end, in
/// its part of this class: <c>name</c>, or <c>name_overload</c> where the schema has an overload.
/// </summary>
internal static partial class Aten
{
    public static readonly Operator to_dense = new("aten::to_dense");
    public static readonly Operator equal = new("aten::equal");
}
