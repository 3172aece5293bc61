using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Gradients of recorded computations.</summary>
    public static partial class autograd
    {
        /// <summary>
        /// The gradients of the sum of <paramref name="outputs"/> (weighted by <paramref name="grad_outputs"/>) with
        /// respect to <paramref name="inputs"/>. An input that the outputs do not depend on gives a Tensor whose
        /// IsInvalid is true, if <paramref name="allow_unused"/>; else the call fails.
        /// </summary>
        public static unsafe IList<Tensor> grad(
            IList<Tensor> outputs, IList<Tensor> inputs, IList<Tensor>? grad_outputs = null,
            bool retain_graph = false, bool create_graph = false, bool allow_unused = false)
        {
            using var outs = new TensorListUse(outputs);
            using var ins = new TensorListUse(inputs);
            using var weights = new TensorListUse(grad_outputs);
            var gradients = new nint[ins.Count];
            fixed (nint* first = gradients)
            {
                Native.Check(Native.AutogradGrad(
                    outs.Handles, outs.Count, ins.Handles, ins.Count, weights.Handles, weights.Count,
                    retain_graph ? 1 : 0, create_graph ? 1 : 0, allow_unused ? 1 : 0, first));
            }

            return [.. gradients.Select(handle => new Tensor(handle))];
        }

        /// <summary>Adds the gradients to those of the leaves, or of <paramref name="inputs"/> only.</summary>
        public static unsafe void backward(
            IList<Tensor> tensors, IList<Tensor>? grad_tensors = null, bool? retain_graph = null,
            bool create_graph = false, IList<Tensor>? inputs = null)
        {
            using var outs = new TensorListUse(tensors);
            using var weights = new TensorListUse(grad_tensors);
            using var ins = new TensorListUse(inputs);
            Native.Check(Native.AutogradBackward(
                outs.Handles, outs.Count, weights.Handles, weights.Count, retain_graph ?? create_graph ? 1 : 0,
                create_graph ? 1 : 0, ins.Handles, ins.Count));
        }

        public static void backward(
            Tensor tensor, IList<Tensor>? grad_tensors = null, bool? retain_graph = null, bool create_graph = false,
            IList<Tensor>? inputs = null) =>
            backward([tensor], grad_tensors, retain_graph, create_graph, inputs);

        public static void backward(
            Tensor tensor, Tensor grad_tensor, bool? retain_graph = null, bool create_graph = false,
            IList<Tensor>? inputs = null) =>
            backward([tensor], [grad_tensor], retain_graph, create_graph, inputs);

        public static AnomalyMode detect_anomaly(bool check_nan = true) => new(true, check_nan);
    }
}
