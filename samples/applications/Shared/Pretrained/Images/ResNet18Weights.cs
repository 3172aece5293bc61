using TorchSharp;
using static TorchSharp.torch;

namespace Samples.Pretrained.Images;

/// <summary>
/// Makes TorchVision's ResNet with the weights of the ONNX file. The file numbers its tensors, so that they are found through
/// the graph: convolutions come in the network's order, each with its norm behind it, and where a block changes the size the
/// convolution of one pixel on its shortcut comes before its other two.
/// </summary>
/// <remarks>
/// The network that the package calls ResNet-18 has a third block in its last stage, which TorchVision's resnet18 has not; hence the
/// public constructor of the class behind it, with blocks of our own.
/// The file pads by one pixel less at the right and at the bottom where a step is two pixels. On pictures of an even size, such as
/// 224 or 64, the last step never reaches that far, so that the symmetric padding of TorchVision gives the same numbers.
/// </remarks>
internal static class ResNet18Weights
{
    private static readonly int[] BlocksPerStage = [2, 2, 2, 3];

    /// <summary>What a norm of the file reads beside its input, in order, by TorchSharp's names.</summary>
    private static readonly string[] NormTensors = ["weight", "bias", "running_mean", "running_var"];

    /// <summary>The pretrained network with a new head, in evaluation mode.</summary>
    /// <exception cref="SampleException">Tensors that the file lacks, has too many of, or has in other shapes.</exception>
    public static TorchSharp.Modules.ResNet Create(OnnxGraph graph, int classes)
    {
        var model = new TorchSharp.Modules.ResNet(
            "ResNet",
            (inputs, outputs, stride, downsample, _, _, _, _) => new ResNetBlock(inputs, outputs, stride, downsample),
            expansion: 1,
            BlocksPerStage,
            classes
        );
        Load(model, graph);
        model.eval();
        return model;
    }

    /// <summary>Fills everything but the head, statistics of the norms included.</summary>
    private static void Load(TorchSharp.Modules.ResNet model, OnnxGraph graph)
    {
        using var noGrad = no_grad();
        var targets = model.state_dict();
        var convolutions = new Queue<OnnxNode>(graph.Nodes.Where(node => node.Operator == "Conv"));
        Take("conv1", "bn1");
        foreach (var stage in Enumerable.Range(1, BlocksPerStage.Length))
        {
            foreach (var block in Enumerable.Range(0, BlocksPerStage[stage - 1]).Select(block => $"layer{stage}.{block}"))
            {
                if (targets.ContainsKey($"{block}.downsample.0.weight"))
                {
                    Take($"{block}.downsample.0", $"{block}.downsample.1");
                }

                Take($"{block}.conv1", $"{block}.bn1");
                Take($"{block}.conv2", $"{block}.bn2");
            }
        }

        if (convolutions.Count > 0)
        {
            throw new SampleException($"The ONNX file has {convolutions.Count} more convolutions than the network.");
        }

        void Take(string convolution, string norm)
        {
            if (
                !convolutions.TryDequeue(out var found)
                || graph.Nodes.FirstOrDefault(node => node.Operator == "BatchNormalization" && node.Inputs[0] == found.Outputs[0])
                    is not { } after
            )
            {
                throw new SampleException($"The ONNX file has no convolution with a norm for {convolution}.");
            }

            Copy(found.Inputs[1], $"{convolution}.weight");
            foreach (var (input, name) in NormTensors.Index())
            {
                Copy(after.Inputs[input + 1], $"{norm}.{name}");
            }
        }

        void Copy(string source, string name)
        {
            using var scope = NewDisposeScope();
            var (values, target) = (graph.Tensors[source].ToTensor(), targets[name]);
            if (!values.shape.SequenceEqual(target.shape))
            {
                throw new SampleException(
                    $"The ONNX file's {source} is [{string.Join(", ", values.shape)}]; {name} is [{string.Join(", ", target.shape)}]."
                );
            }

            target.copy_(values);
        }
    }
}
