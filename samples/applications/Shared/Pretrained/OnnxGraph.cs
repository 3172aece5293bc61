using Google.Protobuf;

namespace Samples.Pretrained;

/// <summary>
/// What an ONNX file says of its network: the nodes in their order and the constant tensors (initializers). The file is a
/// protobuf message, of which only the few fields are read that weights are found by.
/// </summary>
internal sealed class OnnxGraph
{
    // The numbers of fields as the ONNX format defines them: of a model, and of the graph within it.
    private const int ModelGraph = 7;
    private const int GraphNode = 1;
    private const int GraphInitializer = 5;

    private OnnxGraph(IReadOnlyList<OnnxNode> nodes, IReadOnlyDictionary<string, OnnxTensor> tensors) =>
        (Nodes, Tensors) = (nodes, tensors);

    public IReadOnlyList<OnnxNode> Nodes { get; }

    /// <summary>The constant tensors by their names.</summary>
    public IReadOnlyDictionary<string, OnnxTensor> Tensors { get; }

    /// <exception cref="SampleException">It is no ONNX model.</exception>
    public static OnnxGraph Read(byte[] file, string name)
    {
        var (nodes, tensors) = (new List<OnnxNode>(), new Dictionary<string, OnnxTensor>());
        try
        {
            Fields(
                new CodedInputStream(file),
                (field, model) =>
                {
                    if (field == ModelGraph)
                    {
                        Fields(model.ReadBytes().CreateCodedInput(), ReadGraph);
                        return true;
                    }

                    return false;
                }
            );
        }
        catch (InvalidProtocolBufferException exception)
        {
            throw new SampleException($"{name} cannot be read as an ONNX model: {exception.Message}");
        }

        return nodes.Count > 0 ? new OnnxGraph(nodes, tensors) : throw new SampleException($"{name} holds no ONNX graph.");

        bool ReadGraph(int field, CodedInputStream graph)
        {
            switch (field)
            {
                case GraphNode:
                    nodes.Add(OnnxNode.Read(graph.ReadBytes()));
                    return true;
                case GraphInitializer:
                    var tensor = OnnxTensor.Read(graph.ReadBytes());
                    tensors[tensor.Name] = tensor;
                    return true;
                default:
                    return false;
            }
        }
    }

    /// <summary>Hands over field after field; what is not read (the answer is false) is passed over.</summary>
    internal static void Fields(CodedInputStream message, Func<int, CodedInputStream, bool> read)
    {
        while (message.ReadTag() is not 0 and var tag)
        {
            if (!read(WireFormat.GetTagFieldNumber(tag), message))
            {
                message.SkipLastField();
            }
        }
    }
}
