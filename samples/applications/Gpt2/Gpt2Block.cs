using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Gpt2;

/// <summary>x + attention(norm(x)), then x + MLP(norm(x)).</summary>
internal sealed class Gpt2Block : nn.Module<Tensor, Tensor>
{
    private readonly LayerNorm ln_1;
    private readonly Gpt2Attention attn;
    private readonly LayerNorm ln_2;
    private readonly Gpt2Mlp mlp;

    public Gpt2Block(Gpt2Settings settings)
        : base(nameof(Gpt2Block))
    {
        ln_1 = nn.LayerNorm(settings.Width);
        attn = new Gpt2Attention(settings);
        ln_2 = nn.LayerNorm(settings.Width);
        mlp = new Gpt2Mlp(settings.Width);
        RegisterComponents();
    }

    public void AddLora(int rank, double alpha) => attn.AddLora(rank, alpha);

    public override Tensor forward(Tensor input)
    {
        var x = input + attn.call(ln_1.call(input));
        return x + mlp.call(ln_2.call(x));
    }
}
