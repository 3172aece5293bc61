using System.Globalization;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace PretrainedImageClassifier;

/// <summary>Holds TorchVision's network against ONNX Runtime, which runs the same file by itself, on pictures of 224 x 224 as the file
/// wants them.</summary>
/// <param name="Pictures">How many pictures were compared.</param>
/// <param name="Difference">The largest difference of a feature.</param>
/// <param name="Largest">The largest feature.</param>
internal sealed record FeatureCheck(int Pictures, double Difference, double Largest)
{
    private const double Allowed = 1e-4;
    private const int Side = 224;
    private const int Features = 512;

    private bool Holds => Difference <= Allowed * Math.Max(1, Largest);

    /// <summary>Says how far they are apart, and ends where that is too far.</summary>
    public static void Demand(byte[] file, OnnxGraph graph, OnnxGraph preparation, LabelledImages images)
    {
        var check = Run(file, graph, preparation, images);
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"Beside ONNX Runtime, {check.Pictures} pictures: features of up to {check.Largest:0.0} differ by at most "
                    + $"{check.Difference:0.0e+0} (allowed: {Allowed:0e+0} of the largest)."
            )
        );
        if (!check.Holds)
        {
            throw new SampleException("The network does not do what ONNX Runtime does with the same weights.");
        }
    }

    private static FeatureCheck Run(byte[] file, OnnxGraph graph, OnnxGraph preparation, LabelledImages images)
    {
        // With a head that hands on what it gets, the network puts out its features.
        using var model = ResNet18Weights.Create(graph, Features);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        model.get_parameter("fc.weight")!.copy_(eye(Features));
        model.get_parameter("fc.bias")!.zero_();
        var input = PretrainedImageClassifier.Pictures.ToTensor(images, Side, preparation);
        var ours = model.call(input); // [N, 512]
        using var session = new InferenceSession(file);
        var rows = new List<Tensor>();
        for (var i = 0; i < images.Count; i++)
        {
            var one = new DenseTensor<float>(input[i].contiguous().data<float>().ToArray(), [1, 3, Side, Side]);
            using var results = session.Run([NamedOnnxValue.CreateFromTensor(session.InputNames[0], one)]);
            rows.Add(tensor(results[0].AsTensor<float>().ToArray(), [Features]));
        }

        var theirs = stack([.. rows]);
        return new FeatureCheck(images.Count, (ours - theirs).abs().max().item<float>(), theirs.abs().max().item<float>());
    }
}
