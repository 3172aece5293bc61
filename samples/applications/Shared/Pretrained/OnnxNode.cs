using Google.Protobuf;

namespace Samples.Pretrained;

/// <summary>One operation of a graph.</summary>
/// <param name="Name">Its own name; exporters keep the path of the module here, where they make up the names of tensors.</param>
/// <param name="Operator">What it does, for example MatMul.</param>
/// <param name="Inputs">The names of the tensors that it reads.</param>
/// <param name="Outputs">The names of those that it writes.</param>
internal sealed record OnnxNode(string Name, string Operator, IReadOnlyList<string> Inputs, IReadOnlyList<string> Outputs)
{
    private const int InputField = 1;
    private const int OutputField = 2;
    private const int NameField = 3;
    private const int OperatorField = 4;

    public static OnnxNode Read(ByteString message)
    {
        var (name, kind, inputs, outputs) = (string.Empty, string.Empty, new List<string>(), new List<string>());
        OnnxGraph.Fields(
            message.CreateCodedInput(),
            (field, node) =>
            {
                switch (field)
                {
                    case InputField:
                        inputs.Add(node.ReadString());
                        return true;
                    case OutputField:
                        outputs.Add(node.ReadString());
                        return true;
                    case NameField:
                        name = node.ReadString();
                        return true;
                    case OperatorField:
                        kind = node.ReadString();
                        return true;
                    default:
                        return false;
                }
            }
        );
        return new OnnxNode(name, kind, inputs, outputs);
    }
}
