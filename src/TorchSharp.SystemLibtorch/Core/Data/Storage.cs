namespace TorchSharp;

public static partial class torch
{
    /// <summary>The memory behind a tensor; here it only tells where that is.</summary>
    public abstract class Storage
    {
        protected torch.Tensor _tensor;

        protected Storage(Tensor tensor)
        {
            _tensor = tensor;
        }

        /// <summary>Where the memory begins; equal for tensors that share it.</summary>
        public unsafe nint data_ptr() =>
            (nint)_tensor.DataPointer() - (nint)(_tensor.storage_offset() * element_size());

        public abstract int element_size();
    }

    /// <summary>The memory behind a tensor of a given element type.</summary>
    public sealed class Storage<T> : Storage
        where T : unmanaged
    {
        internal Storage(Tensor tensor)
            : base(tensor)
        {
        }

        public override int element_size() => (int)_tensor.ElementSize;
    }

    public partial class Tensor
    {
        public Storage<T> storage<T>()
            where T : unmanaged => new(to_type(ToScalarType(typeof(T))));
    }
}
