using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>The update that Adam and AdamW share; they differ in where the weight decay enters.</summary>
internal readonly record struct AdamSettings(
    double LearningRate,
    double Beta1,
    double Beta2,
    double Epsilon,
    bool AmsGrad)
{
    public void Update(Parameter parameter, Tensor gradient, long step, Tensor mean, Tensor meanSquare, Tensor? maximum)
    {
        mean.mul_(Beta1).add_(gradient, alpha: 1 - Beta1);
        meanSquare.mul_(Beta2).addcmul_(gradient, gradient.conj(), value: 1 - Beta2);
        var spread = meanSquare;
        if (AmsGrad && maximum is not null)
        {
            maximum.copy_(torch.maximum(maximum, meanSquare));
            spread = maximum;
        }

        // Both running means start at zero; dividing by 1 - beta^t takes that bias out.
        var denominator = spread.sqrt().div_(Math.Sqrt(1 - Math.Pow(Beta2, step))).add_(Epsilon);
        parameter.addcdiv_(mean, denominator, value: -LearningRate / (1 - Math.Pow(Beta1, step)));
    }
}
