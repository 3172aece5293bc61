using System.Text.RegularExpressions;
using TorchSharp;
using static TorchSharp.torch;

namespace Samples.Pretrained.Text;

/// <summary>
/// Copies the weights of an ONNX file into the modules. Embeddings, norms and biases have the names there that PyTorch gave
/// them. The exporter transposed the linear layers' weights and numbered them; they are found through the graph: a layer's bias is
/// added to what its weight was multiplied to.
/// </summary>
internal static partial class MiniLmWeights
{
    /// <summary>From our names of modules to those of BERT.</summary>
    private static readonly Dictionary<string, string> Modules = new()
    {
        ["words"] = "embeddings.word_embeddings",
        ["positions"] = "embeddings.position_embeddings",
        ["kinds"] = "embeddings.token_type_embeddings",
        ["norm"] = "embeddings.LayerNorm",
        ["query"] = "attention.self.query",
        ["key"] = "attention.self.key",
        ["value"] = "attention.self.value",
        ["attended"] = "attention.output.dense",
        ["attendedNorm"] = "attention.output.LayerNorm",
        ["up"] = "intermediate.dense",
        ["down"] = "output.dense",
        ["outputNorm"] = "output.LayerNorm",
    };

    /// <summary>Fills every parameter but LoRA's corrections.</summary>
    /// <returns>The weights of the file that no parameter took.</returns>
    /// <exception cref="SampleException">Parameters that the file has no weights of their shape for.</exception>
    public static IReadOnlyList<string> Load(MiniLm model, OnnxGraph graph)
    {
        var left = graph.Tensors.Values.Where(t => t.Values.Length > 0).Select(t => t.Name).ToHashSet();
        var missing = new List<string>();
        using var noGrad = no_grad();
        foreach (var (name, parameter) in model.named_parameters().Where(p => !LoraLinear.IsCorrection(p.name)))
        {
            using var scope = NewDisposeScope();
            var wanted = NameInFile(LoraLinear.WithoutCorrections(name));
            var direct = graph.Tensors.GetValueOrDefault(wanted);
            var found = direct ?? MultipliedBefore(graph, BiasOf(wanted));
            if (found?.ToTensor(transposed: direct is null) is { } values && values.shape.SequenceEqual(parameter.shape))
            {
                parameter.copy_(values);
                left.Remove(found.Name);
            }
            else
            {
                missing.Add($"{name} ({wanted})");
            }
        }

        return missing.Count == 0
            ? [.. left.Order(StringComparer.Ordinal)]
            : throw new SampleException($"The ONNX file has no weights of their shape for: {string.Join(", ", missing)}.");
    }

    /// <summary>For example <c>layers.0.query.bias</c>: <c>encoder.layer.0.attention.self.query.bias</c>.</summary>
    private static string NameInFile(string name)
    {
        var parts = Parts().Match(name);
        var module = Modules[parts.Groups["module"].Value];
        var layer = parts.Groups["layer"].Success ? $"encoder.layer.{parts.Groups["layer"].Value}." : string.Empty;
        return $"{layer}{module}.{parts.Groups["kind"].Value}";
    }

    private static string BiasOf(string weight) => $"{weight[..weight.LastIndexOf('.')]}.bias";

    private static OnnxTensor? MultipliedBefore(OnnxGraph graph, string bias)
    {
        var sum = graph.Nodes.FirstOrDefault(node => node.Operator == "Add" && node.Inputs.Contains(bias));
        var product = graph.Nodes.FirstOrDefault(node => node.Operator == "MatMul" && sum?.Inputs.Contains(node.Outputs[0]) == true);
        return product is null ? null : graph.Tensors.GetValueOrDefault(product.Inputs[1]);
    }

    [GeneratedRegex(@"^(layers\.(?<layer>\d+)\.)?(?<module>\w+)\.(?<kind>weight|bias)$")]
    private static partial Regex Parts();
}
