using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>This tensor's part in autograd.</summary>
    public partial class Tensor
    {
        public bool requires_grad
        {
            get
            {
                using var self = Use();
                return Native.TensorRequiresGrad(self.Pointer) != 0;
            }

            set
            {
                using var self = Use();
                Native.Check(Native.TensorSetRequiresGrad(self.Pointer, value ? 1 : 0));
            }
        }

        public bool is_leaf
        {
            get
            {
                using var self = Use();
                var leaf = Native.TensorIsLeaf(self.Pointer);
                Native.Check(leaf);
                return leaf != 0;
            }
        }

        /// <summary>The accumulated gradient, as a new Tensor at each read; null where there is none.</summary>
        public unsafe Tensor? grad
        {
            get
            {
                using var self = Use();
                nint gradient;
                Native.Check(Native.TensorGrad(self.Pointer, &gradient));
                return gradient != 0 ? new Tensor(gradient) : null;
            }

            set
            {
                using var self = Use();
                if (value is null)
                {
                    Native.Check(Native.TensorSetGrad(self.Pointer, 0));
                    return;
                }

                using var gradient = value.Use();
                Native.Check(Native.TensorSetGrad(self.Pointer, gradient.Pointer));
            }
        }

        public Tensor requires_grad_(bool requires_grad = true)
        {
            this.requires_grad = requires_grad;
            return this;
        }

        public Tensor with_requires_grad(bool requires_grad = true) => requires_grad_(requires_grad);

        public void retain_grad()
        {
            using var self = Use();
            Native.Check(Native.TensorRetainGrad(self.Pointer));
        }

        public Tensor detach() => Aten.detach.Call(this);

        public void backward() => autograd.backward(this, grad_tensors: null);

        public void backward(
            IList<Tensor>? grad_tensors = null, bool retain_graph = false, bool create_graph = false,
            IList<Tensor>? inputs = null) =>
            autograd.backward([this], grad_tensors, retain_graph, create_graph, inputs);
    }
}

internal static partial class Aten
{
    public static readonly Operator detach = new("aten::detach");
}
