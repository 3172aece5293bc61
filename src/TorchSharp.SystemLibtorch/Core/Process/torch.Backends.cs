using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Switches of CUDA's libraries.</summary>
    public static partial class backends
    {
        public static partial class cuda
        {
            public static partial class matmul
            {
                /// <summary>Whether float32 matrix products may use TF32.</summary>
                public static bool allow_tf32
                {
                    get => Tf32(MatrixProducts);
                    set => Tf32(MatrixProducts, value);
                }
            }
        }

        public static partial class cudnn
        {
            /// <summary>Whether float32 convolutions may use TF32.</summary>
            public static bool allow_tf32
            {
                get => Tf32(Convolutions);
                set => Tf32(Convolutions, value);
            }
        }

        private const int MatrixProducts = 0;
        private const int Convolutions = 1;

        private static bool Tf32(int which, bool? value = null)
        {
            var allowed = Native.AllowTf32(which, value is bool v ? (v ? 1 : 0) : -1);
            Native.Check(allowed);
            return allowed != 0;
        }
    }
}
