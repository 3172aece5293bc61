using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Shape, element type and place.</summary>
    public partial class Tensor
    {
        public long Dimensions
        {
            get
            {
                using var self = Use();
                return Native.TensorDim(self.Pointer);
            }
        }

        public long NumberOfElements
        {
            get
            {
                using var self = Use();
                return Native.TensorNumel(self.Pointer);
            }
        }

        public long ElementSize
        {
            get
            {
                using var self = Use();
                return Native.TensorElementSize(self.Pointer);
            }
        }

        public ScalarType dtype
        {
            get
            {
                using var self = Use();
                return (ScalarType)Native.TensorDtype(self.Pointer);
            }
        }

        public bool is_sparse
        {
            get
            {
                using var self = Use();
                return Native.TensorIsSparse(self.Pointer) != 0;
            }
        }

        public long ndim => Dimensions;

        public long[] shape => size();

        public DeviceType device_type => Place().Type;

        public int device_index => Place().Index;

        public Device device
        {
            get
            {
                var (type, index) = Place();
                return type == DeviceType.CPU ? new Device(type) : new Device(type, index);
            }
        }

        public bool is_cuda => device_type == DeviceType.CUDA;

        public bool is_meta => device_type == DeviceType.META;

        public bool is_cpu() => device_type == DeviceType.CPU;

        public long dim() => Dimensions;

        public long numel() => NumberOfElements;

        public long element_size() => ElementSize;

        public bool is_floating_point() => torch.is_floating_point(dtype);

        public bool is_complex() => torch.is_complex(dtype);

        public unsafe long[] size()
        {
            using var self = Use();
            var sizes = new long[Native.TensorDim(self.Pointer)];
            fixed (long* first = sizes)
            {
                Native.Check(Native.TensorSizes(self.Pointer, first));
            }

            return sizes;
        }

        public long size(int dim) => Aten.size_int.CallInt(this, dim);

        public unsafe long[] stride()
        {
            using var self = Use();
            var strides = new long[Native.TensorDim(self.Pointer)];
            fixed (long* first = strides)
            {
                Native.Check(Native.TensorStrides(self.Pointer, first));
            }

            return strides;
        }

        public long stride(int dim) => Aten.stride_int.CallInt(this, dim);

        public long storage_offset()
        {
            using var self = Use();
            var offset = Native.TensorStorageOffset(self.Pointer);
            return offset >= 0 ? offset : throw Native.LastException();
        }

        public bool is_contiguous()
        {
            using var self = Use();
            var contiguous = Native.TensorIsContiguous(self.Pointer);
            Native.Check(contiguous);
            return contiguous != 0;
        }

        private unsafe (DeviceType Type, int Index) Place()
        {
            using var self = Use();
            int index;
            var type = Native.TensorDevice(self.Pointer, &index);
            Native.Check(type);
            return ((DeviceType)type, index);
        }
    }
}

internal static partial class Aten
{
    public static readonly Operator size_int = new("aten::size", "int");
    public static readonly Operator stride_int = new("aten::stride", "int");
}
