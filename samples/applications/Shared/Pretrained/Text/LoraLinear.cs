using TorchSharp;
using static TorchSharp.torch;

namespace Samples.Pretrained.Text;

/// <summary>
/// A linear layer as it is, plus a trained correction of low rank: W x + 2 B A x, with B zero at first (Hu et al., "LoRA", 2022).
/// Both factors are linear layers, so that their gradients are taken by a layer rule like any other's.
/// </summary>
internal sealed class LoraLinear : nn.Module<Tensor, Tensor>
{
    private const double Scale = 2;

    private readonly TorchSharp.Modules.Linear whole;
    private readonly TorchSharp.Modules.Linear loraA;
    private readonly TorchSharp.Modules.Linear loraB;

    public LoraLinear(int inputs, int outputs, int rank)
        : base(nameof(LoraLinear))
    {
        whole = nn.Linear(inputs, outputs);
        loraA = nn.Linear(inputs, rank, hasBias: false);
        loraB = nn.Linear(rank, outputs, hasBias: false);
        nn.init.zeros_(loraB.weight);
        RegisterComponents();
    }

    /// <summary>Whether a parameter of this name is one of the corrections.</summary>
    public static bool IsCorrection(string parameter) =>
        parameter.Contains($".{nameof(loraA)}.", StringComparison.Ordinal)
        || parameter.Contains($".{nameof(loraB)}.", StringComparison.Ordinal);

    /// <summary>The name that a parameter has in a model without corrections.</summary>
    public static string WithoutCorrections(string parameter) => parameter.Replace($".{nameof(whole)}.", ".", StringComparison.Ordinal);

    public override Tensor forward(Tensor x) => whole.call(x) + (loraB.call(loraA.call(x)) * Scale);
}
