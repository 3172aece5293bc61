using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Gpt2;

/// <summary>Four times as wide within, with the approximation of GELU by tanh that GPT-2 was trained with.</summary>
internal sealed class Gpt2Mlp : nn.Module<Tensor, Tensor>
{
    private readonly TransposedLinear c_fc;
    private readonly TransposedLinear c_proj;

    public Gpt2Mlp(int width)
        : base(nameof(Gpt2Mlp))
    {
        c_fc = new TransposedLinear(width, 4 * width);
        c_proj = new TransposedLinear(4 * width, width);
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => c_proj.call(Gelu(c_fc.call(input)));

    private static Tensor Gelu(Tensor x) => 0.5 * x * (1 + (Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x))).tanh());
}
