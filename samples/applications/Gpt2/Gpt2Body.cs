using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Gpt2;

/// <summary>What Hugging Face calls GPT2Model: tables, blocks and the last norm.</summary>
internal sealed class Gpt2Body : nn.Module<Tensor, Tensor>
{
    private const double Spread = 0.02;

    private readonly Embedding wte;
    private readonly Embedding wpe;
    private readonly ModuleList<Gpt2Block> h;
    private readonly LayerNorm ln_f;

    public Gpt2Body(Gpt2Settings settings)
        : base(nameof(Gpt2Body))
    {
        wte = nn.Embedding(settings.Vocabulary, settings.Width);
        wpe = nn.Embedding(settings.Positions, settings.Width);
        h = nn.ModuleList([.. Enumerable.Range(0, settings.Layers).Select(_ => new Gpt2Block(settings))]);
        ln_f = nn.LayerNorm(settings.Width);
        nn.init.normal_(wte.weight!, 0, Spread);
        nn.init.normal_(wpe.weight!, 0, Spread);
        RegisterComponents();
    }

    public Parameter Tokens => wte.weight!;

    public void AddLora(int rank, double alpha)
    {
        foreach (var block in h)
        {
            block.AddLora(rank, alpha);
        }
    }

    public override Tensor forward(Tensor input)
    {
        // With an example axis, so that a position of the table is a position of its example too.
        var place = arange(0, input.shape[1], 1, ScalarType.Int64, input.device).unsqueeze(0).expand(input.shape[0], -1);
        var x = wte.call(input) + wpe.call(place); // [B, T, D]
        foreach (var block in h)
        {
            x = block.call(x);
        }

        return ln_f.call(x);
    }
}
