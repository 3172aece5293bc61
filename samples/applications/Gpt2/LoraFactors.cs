using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Gpt2;

/// <summary>alpha/r B A x beside a frozen weight: two linear layers with nothing between; B is zero at first, so that nothing changes until
/// it is trained.</summary>
internal sealed class LoraFactors : nn.Module<Tensor, Tensor>
{
    private readonly double _scale;
    private readonly Linear lora_A;
    private readonly Linear lora_B;

    public LoraFactors(long inputs, long outputs, int rank, double alpha)
        : base(nameof(LoraFactors))
    {
        _scale = alpha / rank;
        lora_A = nn.Linear(inputs, rank, hasBias: false);
        lora_B = nn.Linear(rank, outputs, hasBias: false);
        nn.init.zeros_(lora_B.weight);
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => lora_B.call(lora_A.call(input)) * _scale;
}
