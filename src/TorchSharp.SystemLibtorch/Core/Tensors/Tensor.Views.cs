using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Transposes by name, and views whose arguments are checked here.</summary>
    public partial class Tensor
    {
        /// <summary>All dimensions in reverse order.</summary>
        public Tensor T
        {
            get
            {
                var order = new long[Dimensions];
                for (var i = 0; i < order.Length; i++)
                {
                    order[i] = order.Length - 1 - i;
                }

                return permute(order);
            }
        }

        /// <summary>The last two dimensions swapped.</summary>
        public Tensor mT => Aten.mT.Call(this);

        public Tensor mH => Aten.mH.Call(this);

        public Tensor H => is_complex() ? transpose(0, 1).conj() : transpose(0, 1);

        public Tensor real => Aten.real.Call(this);

        public Tensor imag => Aten.imag.Call(this);

        public Tensor conj() => Aten.conj.Call(this);

        public Tensor slice(long dim, long start, long finish, long step) => step >= 1
            ? Aten.slice_Tensor.Call(this, dim, start, finish, step)
            : throw new ArgumentException($"step is {step}, but it should always be positive.", nameof(step));

        public Tensor unflatten(long dim, params long[] sizes)
        {
            var rank = Dimensions;
            if (dim < 0 || dim >= rank)
            {
                throw new ArgumentException($"Invalid 'dim' argument: {dim}.", nameof(dim));
            }

            if (sizes.Length == 0)
            {
                throw new ArgumentException("The number of output sizes is zero.", nameof(sizes));
            }

            // libtorch 1.13 has the operator only with a list of names: a view does the same in every version.
            var whole = shape;
            return Aten.view.Call(this, (long[])[.. whole[..(int)dim], .. sizes, .. whole[((int)dim + 1)..]]);
        }

        public (Tensor output, Tensor? inverse_indices, Tensor? counts) unique(
            bool sorted = true, bool return_inverse = false, bool return_counts = false, int? dim = null)
        {
            var (output, inverse, counts) = dim is int d
                ? Aten.unique_dim.Call3(this, d, sorted, return_inverse, return_counts)
                : Aten._unique2.Call3(this, sorted, return_inverse, return_counts);
            return (output, OrNull(inverse, return_inverse), OrNull(counts, return_counts));
        }

        private static Tensor? OrNull(Tensor tensor, bool wanted)
        {
            if (wanted)
            {
                return tensor;
            }

            tensor.Dispose();
            return null;
        }
    }
}

internal static partial class Aten
{
    public static readonly Operator mT = new("aten::mT");
    public static readonly Operator mH = new("aten::mH");
    public static readonly Operator real = new("aten::real");
    public static readonly Operator imag = new("aten::imag");
    public static readonly Operator conj = new("aten::conj");
    public static readonly Operator slice_Tensor = new("aten::slice", "Tensor");
    public static readonly Operator _unique2 = new("aten::_unique2");
    public static readonly Operator unique_dim = new("aten::unique_dim");
}
