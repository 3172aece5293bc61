using Influence;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Gpt2;

/// <summary>
/// GPT-2 with the names that Hugging Face gives its parameters: <c>transformer.h.0.attn.c_attn.weight</c> and so on. The head is tied to
/// the table of tokens.
/// </summary>
internal sealed class Gpt2Model : nn.Module<Tensor, Tensor>
{
    private readonly Gpt2Body transformer;
    private readonly Linear lm_head;

    private Gpt2Model(Gpt2Settings settings)
        : base(nameof(Gpt2Model))
    {
        Settings = settings;
        transformer = new Gpt2Body(settings);
        lm_head = nn.Linear(settings.Width, settings.Vocabulary, hasBias: false);
        lm_head.weight = transformer.Tokens;
        RegisterComponents();
    }

    public Gpt2Settings Settings { get; }

    /// <summary>The number of parameters, the tied table once.</summary>
    public long ParameterCount => parameters().DistinctBy(p => p.storage<float>().data_ptr()).Sum(p => p.numel());

    public static Gpt2Model Create(Gpt2Settings settings, int seed)
    {
        manual_seed(Randomness.SeedFor(seed, "initial weights"));
        return new Gpt2Model(settings);
    }

    /// <summary>A block's attention, whose first weight holds queries, keys and values side by side.</summary>
    public static string AttentionOf(int block) => $"transformer.h.{block}.attn";

    /// <summary>The outputs of every block's first weight in three parts, so that a curvature takes queries, keys and values
    /// apart.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<long>> Splits() =>
        Enumerable
            .Range(0, Settings.Layers)
            .ToDictionary(
                block => $"{AttentionOf(block)}.c_attn.weight",
                IReadOnlyList<long> (_) => [Settings.Width, Settings.Width, Settings.Width]
            );

    /// <summary>Freezes all there is and puts factors of low rank beside the first weight of every block's attention.</summary>
    public void AddLora(int rank, double alpha)
    {
        foreach (var parameter in parameters())
        {
            parameter.requires_grad = false;
        }

        transformer.AddLora(rank, alpha);
    }

    /// <param name="input">Tokens, <c>[B, T]</c>, int64.</param>
    /// <returns>Logits of the next token, <c>[B, T, V]</c>.</returns>
    public override Tensor forward(Tensor input) => lm_head.call(transformer.call(input));
}
