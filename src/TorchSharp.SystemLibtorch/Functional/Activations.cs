using TorchSharp.Interop;
using TorchSharp.Modules;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            private static readonly Operator Relu = new("aten::relu");
            private static readonly Operator ReluInPlace = new("aten::relu_");
            private static readonly Operator Gelu = new("aten::gelu");
            private static readonly Operator GeluInPlace = new("aten::gelu_");
            private static readonly Operator Silu = new("aten::silu");
            private static readonly Operator SiluInPlace = new("aten::silu_");
            private static readonly Operator Tanh = new("aten::tanh");
            private static readonly Operator TanhInPlace = new("aten::tanh_");
            private static readonly Operator Sigmoid = new("aten::sigmoid");
            private static readonly Operator SigmoidInPlace = new("aten::sigmoid_");
            private static readonly Operator LeakyRelu = new("aten::leaky_relu");
            private static readonly Operator LeakyReluInPlace = new("aten::leaky_relu_");
            private static readonly Operator Elu = new("aten::elu");
            private static readonly Operator EluInPlace = new("aten::elu_");
            private static readonly Operator LogSigmoid = new("aten::log_sigmoid");
            private static readonly Operator Softplus = new("aten::softplus");
            private static readonly Operator Softmax = new("aten::softmax", "int");
            private static readonly Operator LogSoftmax = new("aten::log_softmax", "int");

            // The in-place forms return a second wrapper, so that Sequential can dispose its input and keep its output.

            public static Tensor relu(Tensor x, bool inplace = false)
                => inplace ? ReluInPlace.CallInPlace(x).alias() : Relu.Call(x);

            public static Tensor gelu(Tensor x) => gelu(x, false);

            public static Tensor gelu(Tensor x, bool inplace) => gelu(x, Modules.GELU.Approximate.none, inplace);

            /// <summary>
            /// <c>x Phi(x)</c> with the normal distribution function, exact or by its tanh approximation.
            /// </summary>
            public static Tensor gelu(Tensor x, GELU.Approximate approximate, bool inplace = false)
            {
                var method = approximate == Modules.GELU.Approximate.tanh ? "tanh" : "none";
                return inplace ? GeluInPlace.CallInPlace(x, method).alias() : Gelu.Call(x, method);
            }

            public static Tensor silu(Tensor x, bool inplace = false)
                => inplace ? SiluInPlace.CallInPlace(x).alias() : Silu.Call(x);

            public static Tensor tanh(Tensor x, bool inplace = false)
                => inplace ? TanhInPlace.CallInPlace(x).alias() : Tanh.Call(x);

            public static Tensor sigmoid(Tensor x) => sigmoid(x, false);

            public static Tensor sigmoid(Tensor x, bool inplace)
                => inplace ? SigmoidInPlace.CallInPlace(x).alias() : Sigmoid.Call(x);

            public static Tensor leaky_relu(Tensor input, double negative_slope = 0.01, bool inplace = false)
                => inplace
                    ? LeakyReluInPlace.CallInPlace(input, negative_slope).alias()
                    : LeakyRelu.Call(input, negative_slope);

            public static Tensor elu(Tensor x, double alpha, bool inplace = false)
                => inplace ? EluInPlace.CallInPlace(x, alpha).alias() : Elu.Call(x, alpha);

            public static Tensor logsigmoid(Tensor x) => LogSigmoid.Call(x);

            public static Tensor softplus(Tensor x, double beta = 1, double threshold = 20)
                => Softplus.Call(x, beta, threshold);

            public static Tensor softmax(Tensor input, long dim, ScalarType? dtype = null)
                => Softmax.Call(input, dim, dtype);

            public static Tensor log_softmax(Tensor x, long dim) => LogSoftmax.Call(x, dim, Argument.None);
        }
    }
}
