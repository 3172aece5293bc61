using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>
    /// An indexing expression, worked out on one tensor: first a view made of single indices, slices and new
    /// dimensions; then, where tensors or truth values are among the indices, one index list for that view.
    /// </summary>
    private sealed class IndexPlan : IDisposable
    {
        private readonly List<Tensor> _made = [];

        public IndexPlan(Tensor self, ReadOnlySpan<TensorIndex> indices)
        {
            View = self;
            var dimension = 0L;
            try
            {
                for (var i = 0; i < indices.Length; i++)
                {
                    dimension = Apply(indices[i], dimension, Consumed(indices[(i + 1)..]), rank: View.Dimensions);
                }
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        /// <summary>The tensor itself where the expression needs no view.</summary>
        public Tensor View { get; private set; }

        /// <summary>One index tensor for each leading dimension of the view, null for all of it; or null.</summary>
        public Tensor?[]? Lists { get; private set; }

        /// <summary>Disposes the steps on the way to the view, and the view unless that is kept.</summary>
        public void Dispose()
        {
            foreach (var tensor in _made)
            {
                tensor.Dispose();
            }
        }

        /// <summary>Gives the view away: Dispose leaves it alone.</summary>
        public Tensor Keep() => _made.RemoveAll(made => ReferenceEquals(made, View)) > 0 ? View : View.alias();

        private static long Consumed(ReadOnlySpan<TensorIndex> indices)
        {
            var consumed = 0L;
            foreach (ref readonly var index in indices)
            {
                consumed += index.Kind switch
                {
                    IndexKind.Single or IndexKind.Slice => 1,
                    IndexKind.Tensor when index.Indices!.dtype is ScalarType.Bool or ScalarType.Byte =>
                        index.Indices.Dimensions,
                    IndexKind.Tensor => 1,
                    _ => 0,
                };
            }

            return consumed;
        }

        // Returns the dimension of the view that the next index applies to.
        private long Apply(TensorIndex index, long dimension, long consumedAfter, long rank)
        {
            switch (index.Kind)
            {
                case IndexKind.Single:
                    Step(Aten.select_int.Call(View, dimension, index.Start!.Value));
                    return dimension;
                case IndexKind.Slice:
                    if (index.Start is not null || index.Stop is not null || index.Step is not null)
                    {
                        Step(Aten.slice_Tensor.Call(
                            View, dimension, index.Start ?? 0, index.Stop ?? long.MaxValue, index.Step ?? 1));
                    }

                    return dimension + 1;
                case IndexKind.NewDimension:
                    Step(Aten.unsqueeze.Call(View, dimension));
                    return dimension + 1;
                case IndexKind.Ellipsis:
                    return rank - consumedAfter;
                case IndexKind.Bool:
                    Step(Aten.unsqueeze.Call(View, dimension));
                    List(dimension, Made(tensor([index.Start != 0], device: View.device)));
                    return dimension + 1;
                default:
                    return AddList(index.Indices!, dimension);
            }
        }

        private long AddList(Tensor list, long dimension)
        {
            // libtorch takes a mask of several dimensions at the first of them, and nothing at the others.
            var mask = list.dtype is ScalarType.Bool or ScalarType.Byte;
            List(dimension, list);
            return dimension + (mask ? Math.Max(1, list.Dimensions) : 1);
        }

        private void List(long dimension, Tensor list)
        {
            var lists = Lists ?? [];
            Array.Resize(ref lists, (int)dimension + 1);
            lists[dimension] = list;
            Lists = lists;
        }

        private void Step(Tensor view)
        {
            Made(view);
            View = view;
        }

        private Tensor Made(Tensor tensor)
        {
            _made.Add(tensor);
            return tensor;
        }
    }
}
