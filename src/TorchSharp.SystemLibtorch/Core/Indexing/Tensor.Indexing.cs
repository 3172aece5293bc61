using System.Runtime.CompilerServices;
using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Reading and writing by indices.</summary>
    public partial class Tensor
    {
        [IndexerName("TensorItems")]
        public Tensor this[params TensorIndex[] indices]
        {
            get => index(indices);
            set => index_put_(value, indices);
        }

        [IndexerName("TensorItems")]
        public Tensor this[params Tensor[] indices]
        {
            get => index(indices);
            set => index_put_(value, indices);
        }

        [IndexerName("TensorItems")]
        public Tensor this[long i1]
        {
            get => At([i1]);
            set => PutAt([i1], value);
        }

        [IndexerName("TensorItems")]
        public Tensor this[long i1, long i2]
        {
            get => At([i1, i2]);
            set => PutAt([i1, i2], value);
        }

        [IndexerName("TensorItems")]
        public Tensor this[long i1, long i2, long i3]
        {
            get => At([i1, i2, i3]);
            set => PutAt([i1, i2, i3], value);
        }

        [IndexerName("TensorItems")]
        public Tensor this[long i1, long i2, long i3, long i4]
        {
            get => At([i1, i2, i3, i4]);
            set => PutAt([i1, i2, i3, i4], value);
        }

        [IndexerName("TensorItems")]
        public Tensor this[params long[] indices]
        {
            get => At(indices);
            set => PutAt(indices, value);
        }

        public Tensor index(params TensorIndex[] indices)
        {
            using var plan = new IndexPlan(this, indices);
            return plan.Lists is { } lists ? Aten.index_Tensor.Call(plan.View, lists) : plan.Keep();
        }

        public Tensor index(params Tensor[] indices) => index(Array.ConvertAll(indices, TensorIndex.Tensor));

        public Tensor index_put_(Tensor value, TensorIndex[] indices, bool accumulate = false)
        {
            using var plan = new IndexPlan(this, indices);
            Put(plan, value, accumulate);
            return this;
        }

        public Tensor index_put_(Tensor value, params TensorIndex[] indices) =>
            index_put_(value, indices, accumulate: false);

        public Tensor index_put_(Tensor value, Tensor[] indices, bool accumulate = false) =>
            index_put_(value, Array.ConvertAll(indices, TensorIndex.Tensor), accumulate);

        public Tensor index_put_(Tensor value, params Tensor[] indices) =>
            index_put_(value, indices, accumulate: false);

        public Tensor index_put_(Scalar value, params TensorIndex[] indices)
        {
            using var plan = new IndexPlan(this, indices);
            if (plan.Lists is null)
            {
                plan.View.fill_(value);
                return this;
            }

            using var filled = full([], value, dtype, device);
            Put(plan, filled, accumulate: false);
            return this;
        }

        public Tensor index_put_(Scalar value, params Tensor[] indices) =>
            index_put_(value, Array.ConvertAll(indices, TensorIndex.Tensor));

        public Tensor fill_(Scalar value) => Aten.fill__Scalar.CallInPlace(this, value);

        public Tensor zero_() => Aten.zero_.CallInPlace(this);

        private static void Put(IndexPlan plan, Tensor value, bool accumulate)
        {
            if (plan.Lists is { } lists)
            {
                // A number without dimensions may come from the CPU; anything else must be where the tensor is.
                using var near = value.Dimensions == 0 ? value.to(plan.View.dtype, plan.View.device) : value.alias();
                Aten.index_put_.CallInPlace(plan.View, lists, near, accumulate);
            }
            else if (accumulate)
            {
                plan.View.add_(value);
            }
            else
            {
                plan.View.copy_(value);
            }
        }

        private Tensor At(ReadOnlySpan<long> indices)
        {
            var result = Aten.select_int.Call(this, 0, indices[0]);
            foreach (var i in indices[1..])
            {
                using var outer = result;
                result = Aten.select_int.Call(outer, 0, i);
            }

            return result;
        }

        private void PutAt(ReadOnlySpan<long> indices, Tensor value)
        {
            using var place = At(indices);
            place.copy_(value);
        }
    }
}

internal static partial class Aten
{
    public static readonly Operator index_Tensor = new("aten::index", "Tensor");
    public static readonly Operator index_put_ = new("aten::index_put_");
    public static readonly Operator fill__Scalar = new("aten::fill_", "Scalar");
    public static readonly Operator zero_ = new("aten::zero_");
}
