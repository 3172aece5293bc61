using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>The elements as managed data.</summary>
    public partial class Tensor
    {
        /// <summary>The elements in place; a copy on the CPU where the tensor is elsewhere.</summary>
        public Utils.TensorAccessor<T> data<T>()
            where T : unmanaged
        {
            ValidateType(typeof(T));
            return new Utils.TensorAccessor<T>(is_cpu() ? this : cpu());
        }

        public unsafe T item<T>()
            where T : unmanaged
        {
            if (NumberOfElements != 1)
            {
                throw new ArgumentException("Number of elements in the tensor must be 1");
            }

            ValidateType(typeof(T));
            if (is_cpu())
            {
                return ReadFirst<T>();
            }

            using var near = cpu();
            return near.ReadFirst<T>();
        }

        /// <summary>The value of a tensor of one element.</summary>
        public Scalar ToScalar()
        {
            var value = Aten.item.CallValue(this);
            return value.Tag switch
            {
                ValueTag.Double => Scalar.Floating(value.Double),
                ValueTag.Bool => value.Int != 0,
                ValueTag.Int => Scalar.Integer(value.Int),
                _ => throw new NotSupportedException($"A number of type {dtype} has no Scalar here."),
            };
        }

        /// <summary>The raw bytes of a contiguous tensor on the CPU, in place: valid while the tensor lives.</summary>
        public unsafe Span<byte> bytes
        {
            get
            {
                var length = NumberOfElements * ElementSize;
                CheckBytes(length);
                return new Span<byte>(DataPointer(), (int)length);
            }

            set
            {
                if (!is_contiguous())
                {
                    throw new InvalidOperationException("SetBytes() called on non-contiguous tensor.");
                }

                if (NumberOfElements * ElementSize != value.Length)
                {
                    throw new ArgumentException("Mismatched data sizes in SetBytes().", nameof(value));
                }

                CheckBytes(value.Length);
                using var self = Use();
                value.CopyTo(new Span<byte>(DataPointer(), value.Length));
            }
        }

        public unsafe void WriteBytesToStream(Stream stream, int bufferSize = 1024)
        {
            CheckBytes(0);
            using var self = Use();
            using var source = new UnmanagedMemoryStream((byte*)DataPointer(), NumberOfElements * ElementSize);
            source.CopyTo(stream, bufferSize);
        }

        public unsafe void ReadBytesFromStream(Stream stream, int bufferSize = 1024)
        {
            CheckBytes(0);
            using var self = Use();
            var target = (byte*)DataPointer();
            for (var left = NumberOfElements * ElementSize; left > 0;)
            {
                var chunk = (int)Math.Min(left, 1 << 30);
                stream.ReadExactly(new Span<byte>(target, chunk));
                target += chunk;
                left -= chunk;
            }
        }

        internal unsafe void* DataPointer()
        {
            using var self = Use();
            void* data;
            Native.Check(Native.TensorData(self.Pointer, &data));
            return data;
        }

        internal void ValidateType(Type dotnetType)
        {
            var type = dtype;
            if (ToScalarType(dotnetType) != type)
            {
                throw new ArgumentException($"{dotnetType.Name} is not compatible with {type}");
            }
        }

        private unsafe T ReadFirst<T>()
            where T : unmanaged
        {
            using var self = Use();
            return *(T*)DataPointer();
        }

        private void CheckBytes(long length)
        {
            if (!is_contiguous())
            {
                throw new InvalidOperationException("Bytes() called on non-contiguous tensor.");
            }

            if (length > int.MaxValue)
            {
                throw new ArgumentException("Span only supports up to int.MaxValue elements.");
            }

            if (!is_cpu())
            {
                throw new InvalidOperationException(
                    "Reading data from non-CPU memory is not supported. Move or copy the tensor to the cpu before reading.");
            }
        }
    }
}

internal static partial class Aten
{
    public static readonly Operator item = new("aten::item");
}
