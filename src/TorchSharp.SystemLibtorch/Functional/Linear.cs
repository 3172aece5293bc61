using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            private static readonly Operator Linear = new("aten::linear");

            /// <summary><c>input weights^T + bias</c> over the last dimension.</summary>
            public static Tensor linear(Tensor input, Tensor weights, Tensor? bias = null)
                => Linear.Call(input, weights, bias);
        }
    }
}
