using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            private static readonly Operator Dropout = new("aten::dropout");
            private static readonly Operator DropoutInPlace = new("aten::dropout_");
            private static readonly Operator FeatureDropout = new("aten::feature_dropout");
            private static readonly Operator FeatureDropoutInPlace = new("aten::feature_dropout_");

            public static Tensor dropout(Tensor input, double p = 0.5, bool training = true, bool inplace = false)
                => inplace ? DropoutInPlace.CallInPlace(input, p, training).alias() : Dropout.Call(input, p, training);

            /// <summary>Drops whole channels of <c>[N, C, L]</c>.</summary>
            public static Tensor dropout1d(Tensor input, double p = 0.5, bool training = true, bool inplace = false)
            {
                using var scope = NewDisposeScope();
                return dropout2d(input.unsqueeze(-1), p, training, inplace).squeeze(-1).MoveToOuterDisposeScope();
            }

            /// <summary>Drops whole channels of <c>[N, C, H, W]</c>.</summary>
            public static Tensor dropout2d(Tensor input, double p = 0.5, bool training = true, bool inplace = false)
                => inplace
                    ? FeatureDropoutInPlace.CallInPlace(input, p, training).alias()
                    : FeatureDropout.Call(input, p, training);
        }
    }
}
